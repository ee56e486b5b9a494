"""The doctor's route: what the api can see of an installation of which only itself runs."""

from caravan_api.access import Role
from tests.integration.api.conftest import Stack


async def test_it_tells_who_is_there_who_is_not_and_what_could_not_be_asked(stack: Stack) -> None:
    found = (await stack.http.get("/v1/doctor")).json()
    levels = {each["about"]: each["level"] for each in found["findings"]}
    assert not found["well"]
    assert levels["api"] == levels["NATS"] == "ok"
    assert levels["dns"] == levels["health"] == levels["provisioner"] == levels["bootstrapper"] == "fatal"
    assert levels["cloud sandbox"] == "fatal", "nobody is there to look at it"
    assert all(each["mend"] for each in found["findings"] if each["level"] != "ok")


async def test_token_about_to_expire_is_named(stack: Stack) -> None:
    await stack.token("short-lived", lasts_s=3600)
    found = (await stack.http.get("/v1/doctor")).json()
    [tokens] = [each for each in found["findings"] if each["about"] == "tokens"]
    assert tokens["level"] == "warning"
    assert "short-lived of default" in tokens["says"] or "more" in tokens["says"]


async def test_only_those_who_run_the_installation_may_ask(stack: Stack) -> None:
    async with stack.speaking_as(Role.OWNER) as owner:
        assert (await owner.get("/v1/doctor")).status_code == 403
