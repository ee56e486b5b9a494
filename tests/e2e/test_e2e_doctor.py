"""The doctor finds a whole installation well, and one that lacks a service not."""

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.support.api import Api
from tests.support.eventually import eventually


async def test_a_whole_installation_is_well_and_one_without_dns_is_not(stack: Stack, api: Api) -> None:
    async def well() -> bool:  # an earlier test's restart may still be under way
        return bool((await api.call("GET", "/doctor"))["well"])

    await eventually(well, within=60, every=0.5, saying="the installation is well")
    found = await api.call("GET", "/doctor")
    about = {each["about"] for each in found["findings"]}
    assert {*SERVICES, "NATS", "cloud sandbox", "tokens"} <= about

    stack.kill("dns")
    try:
        found = await api.call("GET", "/doctor")
        assert [each["about"] for each in found["findings"] if each["level"] == "fatal"] == ["dns"]
    finally:
        stack.restart("dns")
