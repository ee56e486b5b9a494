"""Teams: who may make one, who belongs to it, how much it may have."""

import asyncio
from typing import Any

import pytest

from caravan_api.access import Role
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh, gone_facts

pytestmark = pytest.mark.usefixtures("dns")  # which takes back what former members hold
POOL = {"template": ClusterSpec.example, "spares": 0, "max_size": 1}


async def _make_team(stack: Stack, **quota: int) -> str:
    name = fresh("team")
    answer = await stack.http.post("/v1/teams", json={"name": name, **quota})
    assert answer.status_code == 201, answer.text
    return name


async def test_a_team_is_made_once_and_seen_by_its_members_alone(stack: Stack) -> None:
    team = await _make_team(stack)
    assert (await stack.http.post("/v1/teams", json={"name": team})).status_code == 409
    async with stack.speaking_as(Role.VIEWER, team) as member, stack.speaking_as(Role.OWNER, "others") as outsider:
        assert [each["name"] for each in (await member.get("/v1/teams")).json()["items"]] == [team]
        assert (await member.get(f"/v1/teams/{team}")).json()["used"] == {"clusters": 0, "nodes": 0, "leases": 0}
        assert (await outsider.get(f"/v1/teams/{team}")).status_code == 404
        assert (await outsider.post("/v1/teams", json={"name": fresh()})).status_code == 403
    assert team in [each["name"] for each in (await stack.http.get("/v1/teams", params={"limit": 500})).json()["items"]]


async def test_nothing_is_made_in_a_team_that_is_not_on_record(stack: Stack) -> None:
    body = {"name": fresh(), "spec": ClusterSpec.example}
    answer = await stack.http.post("/v1/clusters", json=body, params={"team": "never-made"})
    assert (answer.status_code, "never-made" in answer.json()["detail"]) == (404, True)
    token = await stack.http.post("/v1/tokens", json={"user": "eve"}, params={"team": "never-made"})
    assert token.status_code == 404


async def test_an_owner_keeps_the_teams_members_and_makes_no_admin(stack: Stack) -> None:
    team = await _make_team(stack)
    async with stack.speaking_as(Role.OWNER, team) as owner:
        added = await owner.put("/v1/members/user/alice@example.org", json={"role": "developer"})
        assert (added.status_code, added.json()["role"]) == (200, "developer")
        again = await owner.put("/v1/members/user/alice@example.org", json={"role": "viewer"})
        assert (again.json()["role"], again.json()["added_at"]) == ("viewer", added.json()["added_at"])
        assert (await owner.put("/v1/members/group//platform/dev", json={})).json()["user"] == "/platform/dev"
        service = await owner.put("/v1/members/service-account/ci", json={})
        assert service.json()["user"] == f"service:{team}/ci"
        assert (await owner.put("/v1/members/user/root", json={"role": "admin"})).status_code == 403
        assert (await owner.put("/v1/members/service-account/Not A Name", json={})).status_code == 422
        listed = {each["user"] for each in (await owner.get("/v1/members")).json()["items"]}
        assert {"alice@example.org", "/platform/dev", f"service:{team}/ci", f"owner-of-{team}"} == listed
        assert (await owner.delete("/v1/members/user/alice@example.org")).status_code == 204
        assert (await owner.delete("/v1/members/user/alice@example.org")).status_code == 404
    async with stack.speaking_as(Role.DEVELOPER, team) as developer:
        assert (await developer.put("/v1/members/user/bob", json={})).status_code == 403


async def test_a_token_never_does_more_than_its_user_may_now(stack: Stack) -> None:
    team = await _make_team(stack)
    about = {"team": team}
    async with stack.client(await stack.token("bob", team, role="developer")) as bob:
        body = {"name": fresh(), "spec": ClusterSpec.example}
        assert (await bob.post("/v1/clusters", json=body)).status_code == 202
        await stack.http.put("/v1/members/user/bob", json={"role": "viewer"}, params=about)
        assert (await bob.get("/v1/whoami")).json()["role"] == "viewer"
        assert (await bob.post("/v1/clusters", json={**body, "name": fresh()})).status_code == 403
        await stack.http.delete("/v1/members/user/bob", params=about)
        assert (await bob.get("/v1/whoami")).status_code == 401
    await stack.http.put("/v1/members/user/bob", json={}, params=about)
    async with stack.client(await stack.token("bob", team)) as bob:
        assert (await bob.get("/v1/whoami")).status_code == 200, "a new token works; the old one stays void"


async def test_everybody_makes_and_takes_back_tokens_of_their_own(stack: Stack) -> None:
    team = await _make_team(stack)
    async with stack.speaking_as(Role.DEVELOPER, team) as developer, stack.speaking_as(Role.OWNER, team) as owner:
        own = (await developer.post("/v1/tokens", json={"scopes": ["leases"]})).json()
        assert (own["user"], own["scopes"]) == (f"developer-of-{team}", ["leases"])
        assert (await developer.post("/v1/tokens", json={"user": "somebody"})).status_code == 403
        assert (await developer.post("/v1/tokens", json={"role": "owner"})).status_code == 403
        foreign = await owner.post("/v1/tokens", json={"user": "service:others/ci"})
        assert (foreign.status_code, foreign.json()["problems"][0]["field"]) == (422, "user")
        service = (await owner.post("/v1/tokens", json={"user": f"service:{team}/ci", "role": "developer"})).json()
        assert (await developer.delete(f"/v1/tokens/{service['id']}")).status_code == 404, "it is not theirs"
        assert len((await developer.get("/v1/tokens")).json()["items"]) == 2
        assert len((await owner.get("/v1/tokens")).json()["items"]) == 4
        async with stack.client(own["token"]) as limited:
            wider = await limited.post("/v1/tokens", json={})
            assert (wider.status_code, "leases only" in wider.json()["detail"]) == (403, True)
        assert (await developer.delete(f"/v1/tokens/{own['id']}")).status_code == 204


async def test_a_quota_holds_against_requests_that_come_at_once(stack: Stack) -> None:
    team = await _make_team(stack, max_clusters=2, max_nodes=100, max_leases=1)
    async with stack.speaking_as(Role.DEVELOPER, team) as developer:
        bodies = [{"name": fresh(), "spec": ClusterSpec.example} for _ in range(6)]
        answers = await asyncio.gather(*(developer.post("/v1/clusters", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [202, 202, 422, 422, 422, 422]
        refused = next(answer for answer in answers if answer.status_code == 422).json()
        assert "may have 2" in refused["problems"][0]["problem"]
        await stack.http.patch(f"/v1/teams/{team}", json={"max_clusters": None, "max_nodes": 5})
        large = await developer.post("/v1/clusters", json={"name": fresh(), "spec": ClusterSpec.example})
        assert "more than your team may have" in large.json()["detail"]
        pool = (await developer.post("/v1/pools", json={"name": "ci", "spec": POOL})).json()
        takes = [developer.post(f"/v1/pools/{pool['id']}/leases", json={}) for _ in range(4)]
        taken = await asyncio.gather(*takes)
        assert sorted(answer.status_code for answer in taken) == [201, 409, 409, 409]
        used: dict[str, Any] = (await developer.get(f"/v1/teams/{team}")).json()["used"]
        assert (used["clusters"], used["leases"]) == (2, 1)


async def test_a_team_goes_when_it_has_nothing_any_more(stack: Stack) -> None:
    team = await _make_team(stack)
    async with stack.speaking_as(Role.OWNER, team) as owner:
        cluster = (await owner.post("/v1/clusters", json={"name": fresh(), "spec": ClusterSpec.example})).json()
        kept = await stack.http.delete(f"/v1/teams/{team}")
        assert (kept.status_code, "1 clusters" in kept.json()["detail"]) == (409, True)
        await owner.delete(f"/v1/clusters/{cluster['id']}")
        await stack.tell(*gone_facts(cluster))
        await stack.phase(cluster, "Deleted")
        assert (await stack.http.delete(f"/v1/teams/{team}")).status_code == 204
        assert (await owner.get("/v1/whoami")).status_code == 401
    assert (await stack.http.get(f"/v1/teams/{team}")).status_code == 404


@pytest.mark.parametrize("quota", [{"max_nodes": -1}, {"max_clusters": "many"}, {"max_pods": 1}])
async def test_a_quota_that_is_none_is_refused(stack: Stack, quota: dict[str, object]) -> None:
    assert (await stack.http.post("/v1/teams", json={"name": fresh(), **quota})).status_code == 422
