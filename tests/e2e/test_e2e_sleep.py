"""A cluster put to sleep and woken through all five services: asleep it is nobody's fault, awake it is Healthy."""

import pytest

from tests.support.api import SMALL, Api
from tests.support.eventually import eventually


@pytest.mark.long
async def test_cluster_sleeps_without_being_called_broken_and_is_healthy_when_woken(api: Api) -> None:
    cluster = await api.create("nap", SMALL)
    before = await api.until_ready(cluster["id"], nodes=3)
    await api.call("POST", f"/clusters/{cluster['id']}/hibernate")

    async def sleeps() -> bool:
        seen = await api.cluster(cluster["id"])
        return seen["phase"] == "Hibernated" and seen["health"]["reason"].startswith("asleep")

    await eventually(sleeps, within=60, every=0.1)
    machines = await api.machines(cluster["id"])
    assert [machine["powered_on"] for machine in machines] == [False] * 3
    await api.call("POST", f"/clusters/{cluster['id']}/wake")
    after = await api.until_ready(cluster["id"], nodes=3)
    assert after["endpoint"] == before["endpoint"]
    assert {machine["id"] for machine in await api.machines(cluster["id"])} == {machine["id"] for machine in machines}
    timeline = (await api.call("GET", f"/clusters/{cluster['id']}/timeline"))["items"]
    assert not any("Unreachable" in entry["text"] for entry in timeline), [entry["text"] for entry in timeline]
    await api.call("DELETE", f"/clusters/{cluster['id']}")
    await api.until_gone(cluster["id"])
