"""Access across clusters: who has what, and taking back all of one person's, with a dns that answers by wire."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from caravan_api.access import Role
from caravan_api.pools.store import Lease
from caravan_shared.contracts import events as e
from caravan_shared.contracts.requests import (
    AskKubeconfig,
    AskRevoke,
    AskRevokeAll,
    Kubeconfig,
    Revoked,
    RevokedAll,
    TakenBack,
)
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from tests.integration.api.conftest import Stack, fresh
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

Json = dict[str, Any]


async def cluster_of(client: httpx.AsyncClient) -> Json:
    answer = await client.post("/v1/clusters", json={"name": fresh(), "spec": ClusterSpec.example})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def issued(cluster: Json, user: str, lasts_s: float = 3600) -> e.KubeconfigIssued:
    expires_at = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return e.KubeconfigIssued(
        cluster_id=UUID(cluster["id"]), grant_id=uuid4(), user=user, role="editor", expires_at=expires_at
    )


async def listed(client: httpx.AsyncClient, **query: str | int) -> list[Json]:
    """All pages."""
    items: list[Json] = []
    while True:
        answer = await client.get("/v1/grants", params=query)
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        if not (following := answer.json()["next"]):
            return items
        query["after"] = following


async def heard(client: httpx.AsyncClient, user: str, count: int) -> list[Json]:
    """The grants of a user, once there are so many."""

    async def enough() -> list[Json] | None:
        found = await listed(client, user=user)
        return found if len(found) == count else None

    return await eventually(enough)


async def test_a_persons_grants_are_listed_across_clusters_newest_first_page_by_page(stack: Stack) -> None:
    user, clusters = fresh("user"), [await stack.create() for _ in range(3)]
    told = [issued(cluster, user) for cluster in clusters]
    for number, fact in enumerate(told):
        await stack.tell(fact, at=datetime.now(UTC) - timedelta(minutes=10 - number))
    over, taken = issued(clusters[0], user, lasts_s=-5), issued(clusters[1], user)
    await stack.tell(over, taken, at=datetime.now(UTC) - timedelta(minutes=20))
    await stack.tell(e.KubeconfigRevoked(cluster_id=taken.cluster_id, grant_id=taken.grant_id, user=user))
    all_five = await heard(stack.http, user, 5)

    async def told_in_full() -> bool:
        all_five[:] = await listed(stack.http, user=user)
        return any(grant["revoked_at"] for grant in all_five) and all(grant["issued_at"] for grant in all_five)

    await eventually(told_in_full)
    pages = await listed(stack.http, user=user, limit=2)
    assert [grant["grant_id"] for grant in pages[:3]] == [str(fact.grant_id) for fact in reversed(told)]
    assert [grant["cluster"] for grant in pages[:3]] == [cluster["name"] for cluster in reversed(clusters)]
    assert [grant["is_open"] for grant in pages] == [True, True, True, False, False]
    assert {grant["grant_id"] for grant in pages[3:]} == {str(over.grant_id), str(taken.grant_id)}


async def test_a_revocation_that_is_heard_of_first_is_listed_in_its_place(stack: Stack) -> None:
    user, cluster = fresh("user"), await stack.create()
    await stack.tell(e.KubeconfigRevoked(cluster_id=UUID(cluster["id"]), grant_id=uuid4(), user=user))
    await stack.tell(issued(cluster, user), at=datetime.now(UTC) - timedelta(hours=1))
    first, second = await heard(stack.http, user, 2)
    assert (first["issued_at"], first["is_open"], second["is_open"]) == (None, False, True)
    assert len(await listed(stack.http, user=user, limit=1)) == 2


async def test_a_team_sees_its_own_clusters_grants_alone(stack: Stack) -> None:
    user, ours = fresh("user"), await stack.create()
    async with stack.speaking_as(Role.DEVELOPER, "builds") as builds, stack.speaking_as(Role.VIEWER) as viewer:
        theirs = await cluster_of(builds)
        await stack.tell(issued(ours, user), issued(theirs, user))
        assert {grant["team"] for grant in await heard(stack.http, user, 2)} == {"default", "builds"}
        assert [grant["cluster"] for grant in await listed(builds, user=user)] == [theirs["name"]]
        assert [grant["cluster"] for grant in await listed(viewer, user=user)] == [ours["name"]]
        assert [grant["cluster"] for grant in await listed(stack.http, user=user, team="builds")] == [theirs["name"]]
        assert (await builds.get("/v1/grants", params={"team": "default"})).status_code == 403


class Dns:
    """Answers as dns would: what it holds is what `takes` says."""

    def __init__(self) -> None:
        self.asked: list[AskRevokeAll] = []
        self.revoked: list[AskRevoke] = []
        self.takes: tuple[TakenBack, ...] = ()
        self.while_issuing: Any = None

    async def revoke_all(self, request: AskRevokeAll) -> RevokedAll:
        self.asked.append(request)
        return RevokedAll(items=self.takes)

    async def revoke(self, request: AskRevoke) -> Revoked:
        self.revoked.append(request)
        return Revoked()

    async def issue(self, request: AskKubeconfig) -> Kubeconfig:
        await self.while_issuing()
        expires_at = datetime.now(UTC) + timedelta(seconds=request.ttl_s)
        return Kubeconfig(grant_id=uuid4(), kubeconfig="kind: Config", expires_at=expires_at)


@pytest.fixture
async def dns(stack: Stack, api_nats: NatsServer) -> AsyncIterator[Dns]:
    bus, dns = Bus(api_nats.url, "dns", 1), Dns()
    requests.answer(bus, stack.service.keys, AskRevokeAll, dns.revoke_all)
    requests.answer(bus, stack.service.keys, AskRevoke, dns.revoke)
    requests.answer(bus, stack.service.keys, AskKubeconfig, dns.issue)
    await bus.start()
    yield dns
    await bus.stop()


def taken_back(cluster: Json, pending: str | None = None) -> TakenBack:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return TakenBack(
        cluster_id=UUID(cluster["id"]), grant_id=uuid4(), role="admin", expires_at=expires_at, pending=pending
    )


async def test_what_is_taken_back_and_what_is_pending_is_told_apart(stack: Stack, dns: Dns) -> None:
    gone, silent = await stack.create(), await stack.create()
    dns.takes = (taken_back(gone), taken_back(silent, "it can't be reached"))
    user = fresh("user")
    for _ in range(2):
        await stack.token(user)
    await stack.token(user, "builds")
    answer = await stack.http.request("DELETE", "/v1/grants", params={"user": user, "team": "default"})
    told = answer.json()
    assert (answer.status_code, told["user"], told["team"], told["more"]) == (200, user, "default", 0)
    assert [(one["cluster"], one["role"]) for one in told["revoked"]] == [(gone["name"], "admin")]
    assert [(one["cluster"], one["reason"]) for one in told["pending"]] == [(silent["name"], "it can't be reached")]
    assert told["tokens"] == 2, "those of the team, with which the person may ask again"
    everywhere = await stack.http.request("DELETE", "/v1/grants", params={"user": user})
    assert (everywhere.json()["team"], everywhere.json()["tokens"]) == (None, 3)
    assert [(asked.user, asked.team) for asked in dns.asked] == [(user, "default"), (user, None)]


async def test_who_may_take_back_what(stack: Stack, dns: Dns) -> None:
    params = {"user": "alice"}
    async with stack.speaking_as(Role.VIEWER) as viewer, stack.speaking_as(Role.DEVELOPER, "builds") as builds:
        assert (await viewer.request("DELETE", "/v1/grants", params=params)).status_code == 403
        foreign = await builds.request("DELETE", "/v1/grants", params={**params, "team": "default"})
        assert foreign.status_code == 403
        assert (await builds.request("DELETE", "/v1/grants")).status_code == 422, "never everyone's by mistake"
        assert dns.asked == []
        assert (await builds.request("DELETE", "/v1/grants", params=params)).status_code == 200
    assert [(asked.user, asked.team) for asked in dns.asked] == [("alice", "builds")]


async def leased(stack: Stack, team: str, cluster: Json, *, is_over: bool = False) -> None:
    """That team leases the cluster, or did."""
    now = datetime.now(UTC)
    times: dict[str, Any] = {"asked_at": now, "heard_at": now, "granted_at": now, "ended_at": now if is_over else None}
    lease = Lease(id=uuid4(), pool_id=uuid4(), pool="p", team=team, holder="h", state="Held", lasts_s=60, **times)
    lease.cluster_id = UUID(cluster["id"])
    async with stack.service.db.transaction() as tx:
        tx.add(lease)


async def test_clusters_that_a_team_leases_are_among_its_own_until_the_lease_is_over(stack: Stack, dns: Dns) -> None:
    user, team = fresh("user"), fresh("team")
    now_theirs, once_theirs = await stack.create(), await stack.create()
    await leased(stack, team, now_theirs)
    await leased(stack, team, once_theirs, is_over=True)
    await stack.tell(issued(now_theirs, user), issued(once_theirs, user))
    await heard(stack.http, user, 2)
    dns.takes = (taken_back(now_theirs),)
    async with stack.speaking_as(Role.OWNER, team) as owner:
        assert [grant["cluster"] for grant in await listed(owner, user=user)] == [now_theirs["name"]]
        await stack.token(user, team)
        assert (await owner.delete(f"/v1/members/user/{user}")).status_code == 204
        revoked = await owner.request("DELETE", "/v1/grants", params={"user": user})
        assert [one["cluster"] for one in revoked.json()["revoked"]] == [now_theirs["name"]]
    reach = (user, team, (UUID(now_theirs["id"]),))
    assert [(asked.user, asked.team, asked.clusters) for asked in dns.asked] == [reach, reach]


async def test_without_dns_nothing_is_claimed_to_be_revoked(stack: Stack) -> None:
    answer = await stack.http.request("DELETE", "/v1/grants", params={"user": "alice"})
    assert (answer.status_code, answer.json()["retry_helps"]) == (503, True)


async def test_access_made_while_its_askers_token_is_revoked_is_not_handed_out(stack: Stack, dns: Dns) -> None:
    cluster = await stack.make_ready(await stack.create())
    token = (await stack.http.post("/v1/tokens", json={"user": "eve"})).json()

    async def revoke_token() -> None:
        assert (await stack.http.delete(f"/v1/tokens/{token['id']}")).status_code == 204

    dns.while_issuing = revoke_token
    async with stack.client(token["token"]) as eve:
        answer = await eve.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={})
    assert answer.status_code == 401
    assert "kind: Config" not in answer.text
    assert [str(asked.cluster_id) for asked in dns.revoked] == [cluster["id"]]
