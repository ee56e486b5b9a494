"""What those who run clouds ask: the provisioner looks, and a person sees what it found."""

import pytest

from caravan_api.access import Role
from tests.integration.api.conftest import Stack


@pytest.mark.usefixtures("provisioner")
async def test_check_tells_what_was_found_and_whether_the_cloud_is_usable(stack: Stack) -> None:
    found = (await stack.http.get("/v1/clouds/sandbox/check")).json()
    assert (found["cloud"], found["usable"]) == ("sandbox", False)
    assert [(each["about"], each["level"], each["mend"]) for each in found["findings"]] == [
        ("api", "ok", ""),
        ("quota", "fatal", "Delete some."),
    ]


@pytest.mark.usefixtures("provisioner")
async def test_sweep_lists_what_it_would_do(stack: Stack) -> None:
    (item,) = (await stack.http.get("/v1/clouds/sandbox/sweep")).json()["items"]
    assert (item["machine_id"], item["reason"]) == ("m-1", "its cluster was deleted")
    assert item["verdict"].startswith("seen once")


@pytest.mark.usefixtures("provisioner")
async def test_release_of_the_sweep_is_on_record(stack: Stack) -> None:
    assert (await stack.http.post("/v1/sweep/release")).json() == {"was_held": True}
    newest = (await stack.http.get("/v1/audit", params={"limit": 1})).json()["items"][0]
    assert (newest["kind"], newest["after"]) == ("sweep", {"released": True})


@pytest.mark.usefixtures("provisioner")
async def test_unknown_cloud_is_told_with_those_there_are(stack: Stack) -> None:
    answer = await stack.http.get("/v1/clouds/nowhere/check")
    assert (answer.status_code, answer.json()["detail"]) == (409, "there is no cloud 'nowhere'; configured: sandbox")


async def test_without_a_provisioner_a_retry_is_advised(stack: Stack) -> None:
    answer = await stack.http.get("/v1/clouds/sandbox/check")
    assert (answer.status_code, answer.json()["retry_helps"]) == (503, True)


async def test_only_those_who_run_the_installation_may_look(stack: Stack) -> None:
    async with stack.speaking_as(Role.DEVELOPER) as developer:
        assert (await developer.get("/v1/clouds/sandbox/check")).status_code == 403
        assert (await developer.get("/v1/clouds/sandbox/sweep")).status_code == 403
