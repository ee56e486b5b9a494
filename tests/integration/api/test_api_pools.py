"""Pools and leases over REST: spares are made, tested, handed out, replaced and deleted; nobody gets another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from caravan_api.access import Role
from caravan_api.pools.keys import pool_key
from caravan_api.pools.store import Lease
from caravan_shared.contracts import events as e
from caravan_shared.contracts.maintenance import Weekday
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke, AskSmokeTest, SmokeTest
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from tests.integration.api.conftest import Stack, fresh, gone_facts
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

Json = dict[str, Any]


@dataclass
class Health:
    """Answers as health would. `ill`: clusters with what is wrong with them."""

    ill: dict[UUID, str] = field(default_factory=dict)
    asked: list[UUID] = field(default_factory=list)

    async def answer(self, asked: AskSmokeTest) -> SmokeTest:
        """Fit, unless told otherwise."""
        self.asked.append(asked.cluster_id)
        assert asked.nodes == 3
        problem = self.ill.get(asked.cluster_id)
        return SmokeTest(problems=(problem,) if problem else ())


@asynccontextmanager
async def answering(stack: Stack, nats: NatsServer) -> AsyncIterator[Health]:
    """The health service, as far as pools ask it."""
    health = Health()
    bus = Bus(nats.url, "health", 1)
    requests.answer(bus, stack.service.keys, AskSmokeTest, health.answer)
    await bus.start()
    yield health
    await bus.stop()


@pytest.fixture
async def health(stack: Stack, api_nats: NatsServer) -> AsyncIterator[Health]:
    """The one that the shared api asks."""
    async with answering(stack, api_nats) as health:
        yield health


class PoolOf:
    """One pool of a test's own, and whoever makes its clusters Ready."""

    def __init__(self, stack: Stack, view: Json) -> None:
        self.stack, self.name, self.view = stack, view["name"], view
        self.path = f"/v1/pools/{view['name']}"

    async def get(self) -> Json:
        """As it is now."""
        return await ok(self.stack.http.get(self.path))

    async def clusters(self, **query: str) -> list[Json]:
        """Its clusters that are not wholly deleted."""
        found = await ok(self.stack.http.get("/v1/clusters", params={"q": f"{self.name}-", "limit": "500", **query}))
        return list(found["items"])

    async def made(self, count: int) -> list[Json]:
        """Its clusters in the making, once they are so many."""

        async def look() -> list[Json] | None:
            found = [each for each in await self.clusters() if each["phase"] not in ("Ready", "Deleting")]
            return found if len(found) == count else None

        return await eventually(look, saying=f"{count} clusters of {self.name} in the making")

    async def ready(self, count: int) -> list[Json]:
        """Have so many clusters become Ready, and wait until they are spares."""
        made = await self.made(count)
        for cluster in made:
            await self.stack.make_ready(cluster)
        await self.until(lambda view: view["clusters"]["ready"] == count)
        return made

    async def until(self, met: Any) -> Json:
        """The pool, once something is so."""
        last: Json = {}

        async def look() -> bool:
            nonlocal last
            last = await self.get()
            return bool(met(last))

        try:
            await eventually(look)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error
        return last

    async def change(self, **spec: Any) -> Json:
        """Patch its spec; its JSON."""
        etag = {"If-Match": (await self.get())["etag"]}
        return await ok(self.stack.http.patch(self.path, json={"spec": spec}, headers=etag))

    async def take(self, http: httpx.AsyncClient | None = None, **body: Any) -> Json:
        """A lease."""
        return await ok((http or self.stack.http).post(f"{self.path}/leases", json=body))

    async def lease(self, lease: Json) -> Json:
        """A lease as it is now."""
        return await ok(self.stack.http.get(f"/v1/leases/{lease['id']}"))

    async def lease_in(self, lease: Json, state: str) -> Json:
        """A lease, once it is in a state."""

        async def look() -> Json | None:
            found = await self.lease(lease)
            return found if found["state"] == state else None

        try:
            return await eventually(look, saying=f"the lease is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.lease(lease)}, {await self.get()}") from error


async def ok(answering: Any) -> Json:
    """The JSON of an answer that is no error."""
    answer: httpx.Response = await answering
    assert answer.is_success, answer.text
    body: Json = answer.json()
    return body


async def pool_of(stack: Stack, **spec: Any) -> PoolOf:
    body = {"name": fresh("p"), "spec": {"template": ClusterSpec.example, "spares": 2, **spec}}
    return PoolOf(stack, await ok(stack.http.post("/v1/pools", json=body)))


async def test_a_pool_makes_tests_and_hands_out_spares_and_replaces_what_was_taken(
    stack: Stack, health: Health, dns: list[AskKubeconfig | AskRevoke]
) -> None:
    pool = await pool_of(stack)
    spares = await pool.ready(2)
    assert {UUID(each["id"]) for each in spares} <= set(health.asked)
    assert {each["pool_id"] for each in spares} == {pool.view["id"]}
    lease = await pool.take(purpose="e2e", labels={"commit": "abc"}, kubeconfig="admin")
    assert (lease["state"], lease["holder"], lease["labels"]) == ("Held", "admin", {"commit": "abc"})
    assert lease["cluster_id"] in {each["id"] for each in spares}
    assert lease["kubeconfig"]["kubeconfig"] == "kind: Config"
    assert isinstance(dns[0], AskKubeconfig)
    assert (dns[0].role, dns[0].ttl_s) == ("admin", 3600)
    view = await pool.until(lambda view: view["clusters"]["making"] == 1)
    assert (view["clusters"]["ready"], view["clusters"]["leased"]) == (1, 1)
    timeline = await ok(stack.http.get(f"/v1/clusters/{lease['cluster_id']}/timeline"))
    assert any("admin leased it until" in entry["text"] for entry in timeline["items"])


async def test_a_lease_that_is_given_back_ends_its_cluster_and_nobody_gets_it_again(
    stack: Stack, health: Health
) -> None:
    pool = await pool_of(stack, spares=1, max_size=1)
    (cluster,) = await pool.ready(1)
    lease = await pool.take()
    for _ in range(2):
        ended = await ok(stack.http.delete(f"/v1/leases/{lease['id']}"))
        assert (ended["state"], ended["end_reason"]) == ("Ended", "admin gave it back")
    await stack.phase(cluster, "Deleting")
    waits = await pool.take()
    assert (waits["state"], waits["position"]) == ("Waiting", 1)
    (other,) = await pool.made(1)
    await stack.make_ready(other)
    assert (await pool.lease_in(waits, "Held"))["cluster_id"] == other["id"]
    await stack.tell(*gone_facts(cluster))
    await stack.phase(cluster, "Deleted")
    await pool.until(lambda view: view["clusters"]["leaving"] == 0)


async def test_whoever_waits_is_served_in_order_and_knows_the_place(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0, max_making=1)
    queue = [await pool.take() for _ in range(3)]
    assert [each["position"] for each in queue] == [1, 2, 3]
    for waits in queue:
        (cluster,) = await pool.made(1)
        await stack.make_ready(cluster)
        assert (await pool.lease_in(waits, "Held"))["cluster_id"] == cluster["id"]
    usual_s = (await pool.get())["usual_making_s"]
    late = await pool.take()
    assert 0 <= late["estimate_s"] <= usual_s + 1


async def test_a_long_poll_and_a_stream_answer_as_soon_as_the_turn_has_come(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0)
    waits = await pool.take()
    polling = asyncio.create_task(ok(stack.http.get(f"/v1/leases/{waits['id']}", params={"wait_s": "60"}, timeout=70)))

    async def stream() -> list[str]:
        async with stack.http.stream("GET", f"/v1/leases/{waits['id']}/events", timeout=70) as answer:
            return [line async for line in answer.aiter_lines() if line.startswith("data")]

    streaming = asyncio.create_task(stream())
    (cluster,) = await pool.made(1)
    assert not polling.done()
    await stack.make_ready(cluster)
    assert (await asyncio.wait_for(polling, 15))["state"] == "Held"
    await ok(stack.http.delete(f"/v1/leases/{waits['id']}"))
    told = await asyncio.wait_for(streaming, 15)
    states = [state for line in told for state in ("Waiting", "Held", "Ended") if f'"{state}"' in line]
    assert list(dict.fromkeys(states)) == ["Waiting", "Held", "Ended"]


async def test_who_does_not_want_to_wait_is_refused_and_leaves_no_lease(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0)
    refused = await stack.http.post(f"{pool.path}/leases", json={"wait": False})
    assert (refused.status_code, refused.json()["retry_helps"]) == (409, True)
    assert (await pool.get())["waiting"] == 0


async def test_a_spare_that_fails_its_smoke_test_is_handed_to_nobody(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1)
    (cluster,) = await pool.made(1)
    health.ill[UUID(cluster["id"])] = "no pod of cluster DNS is Ready"
    await stack.make_ready(cluster)
    await eventually(lambda: _is_in(UUID(cluster["id"]), health.asked))
    lease = await pool.take()
    assert lease["state"] == "Waiting"
    del health.ill[UUID(cluster["id"])]
    assert (await pool.lease_in(lease, "Held"))["cluster_id"] == cluster["id"]


async def test_a_failed_cluster_is_replaced_after_a_pause_and_the_pool_says_why(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1)
    (cluster,) = await pool.made(1)
    failed = {**e.BootstrapFailed.example, "cluster_id": cluster["id"], "reason": "the image is gone"}
    await stack.tell(e.BootstrapFailed.model_validate(failed))
    view = await pool.until(lambda view: view["trouble"])
    assert view["trouble"] == f"{cluster['name']}: the image is gone"
    assert view["next_try_at"]
    assert (view["clusters"]["leaving"], view["clusters"]["making"]) == (1, 0)
    changed = await stack.http.patch(pool.path, json={"spec": {"max_making": 2}}, headers={"If-Match": view["etag"]})
    assert changed.json()["trouble"] is None
    await pool.made(1)


async def test_another_template_rolls_the_spares_and_leaves_the_leases_alone(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack)
    await pool.ready(2)
    lease = await pool.take()
    etag = (await pool.get())["etag"]
    patch = {"spec": {"template": {"version": "1.35.1"}}}
    await ok(stack.http.patch(pool.path, json=patch, headers={"If-Match": etag}))

    async def rolled() -> bool:
        live = [each for each in await pool.clusters() if each["phase"] != "Deleting"]
        versions = sorted(each["spec"]["version"] for each in live)
        return versions == ["1.34.2", "1.35.1", "1.35.1"]

    await eventually(rolled)
    assert (await pool.lease(lease))["state"] == "Held"
    stale = await stack.http.patch(pool.path, json=patch, headers={"If-Match": etag})
    assert stale.status_code == 412


async def test_spares_of_an_earlier_template_stay_and_are_handed_out_until_its_maintenance_window(
    stack: Stack, health: Health
) -> None:
    pool = await pool_of(stack, spares=1)
    (earlier,) = await pool.ready(1)
    view = await pool.change(template={"version": "1.35.1", "maintenance": _three_days_off()})
    assert view["roll"].startswith("1 spare of an earlier template waits for the maintenance window: next ")
    assert view["roll_at"]
    assert (view["clusters"]["ready"], view["clusters"]["stale"]) == (1, 0)
    assert (await pool.take())["cluster_id"] == earlier["id"]
    (newer,) = await pool.made(1)
    assert newer["spec"]["version"] == "1.35.1"
    assert (await pool.get())["roll"] is None


async def test_roll_that_waits_begins_when_it_is_asked_for_at_once(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1)
    (earlier,) = await pool.ready(1)
    await pool.change(template={"version": "1.35.1", "maintenance": _three_days_off()})
    await pool.change(template={"maintenance": {"at_once": "1.35.1"}})
    await stack.phase(earlier, "Deleting")
    (newer,) = await pool.made(1)
    assert newer["spec"]["version"] == "1.35.1"


async def test_a_lease_is_extended_up_to_the_cap_and_no_further(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1, lease_s=600, max_lease_s=1500)
    await pool.ready(1)
    lease = await pool.take()
    path = f"/v1/leases/{lease['id']}/extend"
    assert (await stack.http.post(path, json={"for_s": 1000})).status_code == 422
    key = {"Idempotency-Key": fresh()}
    first, again = [await ok(stack.http.post(path, json={}, headers=key)) for _ in range(2)]
    assert first == again
    last = await ok(stack.http.post(path, json={}))
    assert lease["ends_at"] < first["ends_at"] < last["ends_at"]
    over = await stack.http.post(path, json={})
    assert (over.status_code, "as long already" in over.json()["detail"]) == (409, True)


async def test_who_is_silent_in_the_queue_leaves_it(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0)
    lease = await pool.take(heartbeat_s=10)
    heard = await ok(stack.http.post(f"/v1/leases/{lease['id']}/heartbeat"))
    assert heard["state"] == "Waiting"
    await _falls_silent(stack, lease, 11)
    assert (await pool.lease_in(lease, "Ended"))["cluster"] is None


async def test_a_lease_without_heartbeats_ends(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1)
    await pool.ready(1)
    lease = await pool.take(heartbeat_s=10)
    await ok(stack.http.post(f"/v1/leases/{lease['id']}/heartbeat"))
    await _falls_silent(stack, lease, 11)
    ended = await pool.lease_in(lease, "Ended")
    assert ended["end_reason"] == "its holder was not heard of for 10 s"
    assert (await stack.http.post(f"/v1/leases/{lease['id']}/heartbeat")).status_code == 409


async def test_a_cluster_may_be_kept_for_debugging_up_to_the_cap(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1, max_keep_s=3600)
    (cluster,) = await pool.ready(1)
    lease = await pool.take()
    path = f"/v1/leases/{lease['id']}"
    assert (await stack.http.delete(path, params={"keep_s": "4000"})).status_code == 422
    kept = await ok(stack.http.delete(path, params={"keep_s": "3000"}))
    assert (kept["state"], (await stack.get(cluster))["phase"]) == ("Kept", "Ready")
    assert (await ok(stack.http.delete(path, params={"keep_s": "3000"}))) == kept, "a repeated request ends nothing"
    await ok(stack.http.delete(path))
    await stack.phase(cluster, "Deleting")


async def test_a_lease_whose_cluster_somebody_deletes_is_over(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=1)
    await pool.ready(1)
    lease = await pool.take()
    await stack.http.delete(f"/v1/clusters/{lease['cluster_id']}")
    assert (await pool.lease_in(lease, "Ended"))["end_reason"] == "its cluster was deleted"


async def test_one_person_holds_no_more_than_the_pool_allows_while_others_are_served(
    stack: Stack, health: Health
) -> None:
    pool = await pool_of(stack, spares=3, max_leases_per_holder=1, max_making=3)
    await pool.ready(3)
    first = await pool.take()
    second = await pool.take()
    assert (first["state"], second["state"]) == ("Held", "Waiting")
    async with stack.speaking_as(Role.DEVELOPER) as other:
        theirs = await pool.take(other)
        await pool.lease_in(theirs, "Held")
    assert (await pool.lease(second))["state"] == "Waiting"
    await stack.http.delete(f"/v1/leases/{first['id']}")
    await pool.lease_in(second, "Held")


async def test_a_deleted_pool_ends_when_its_last_lease_does(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack)
    await pool.ready(2)
    lease = await pool.take()
    await pool.made(1)
    await ok(stack.http.delete(pool.path))
    assert (await stack.http.post(f"{pool.path}/leases", json={})).status_code == 409
    clusters = await pool.clusters()
    assert len(clusters) == 3, "a spare, the leased one, and one that was to replace it"
    for cluster in clusters:
        if cluster["id"] != lease["cluster_id"]:
            await stack.phase(cluster, "Deleting")
    assert (await pool.lease(lease))["state"] == "Held"
    await stack.http.delete(f"/v1/leases/{lease['id']}")
    for cluster in clusters:
        await stack.tell(*gone_facts(cluster))

    async def gone() -> bool:
        return (await stack.http.get(pool.path)).status_code == 404

    await eventually(gone)


async def test_a_repeated_take_with_one_key_is_one_lease(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack)
    await pool.ready(2)
    headers = {"Idempotency-Key": fresh()}
    answers = await asyncio.gather(
        *(stack.http.post(f"{pool.path}/leases", json={}, headers=headers) for _ in range(5))
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await pool.get())["clusters"]["leased"] == 1


async def test_pools_and_leases_of_another_team_do_not_exist(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0)
    lease = await pool.take()
    async with stack.speaking_as(Role.DEVELOPER, "others") as foreign:
        for method, path in [
            ("GET", pool.path),
            ("DELETE", pool.path),
            ("GET", f"/v1/pools/{pool.view['id']}"),
            ("GET", f"/v1/leases/{lease['id']}"),
            ("GET", f"/v1/leases/{lease['id']}/events"),
            ("DELETE", f"/v1/leases/{lease['id']}"),
        ]:
            assert (await foreign.request(method, path)).status_code == 404, (method, path)
        assert (await foreign.post(f"{pool.path}/leases", json={})).status_code == 404
        assert (await ok(foreign.get("/v1/leases")))["items"] == []
    async with stack.speaking_as(Role.VIEWER) as viewer:
        assert (await viewer.post(f"{pool.path}/leases", json={})).status_code == 403


async def test_a_shared_pool_is_found_and_taken_from_by_its_teams_and_changed_by_its_own_alone(
    stack: Stack, health: Health, dns: list[AskKubeconfig | AskRevoke]
) -> None:
    team = fresh()
    pool = await pool_of(stack, spares=2, shared_with=[team])
    await pool.ready(2)
    async with stack.speaking_as(Role.DEVELOPER, team) as app, stack.speaking_as(Role.DEVELOPER, fresh()) as others:
        assert pool.name in await _pools_of(app)
        assert pool.name not in await _pools_of(others)
        assert (await others.post(f"{pool.path}/leases", json={})).status_code == 404
        for method, body in [("PATCH", {"spec": {"spares": 9}}), ("DELETE", None)]:
            answer = await app.request(method, pool.path, json=body, headers={"If-Match": "*"})
            assert (answer.status_code, "belongs to the team default" in answer.json()["detail"]) == (403, True)
        lease = await pool.take(app, kubeconfig="admin")
        assert (lease["state"], lease["team"], lease["holder"]) == ("Held", team, f"developer-of-{team}")
        assert lease["kubeconfig"]["kubeconfig"] == "kind: Config"
        assert (await others.get(f"/v1/leases/{lease['id']}")).status_code == 404


async def test_a_leased_cluster_is_within_its_holders_teams_reach_while_the_lease_lasts(
    stack: Stack, health: Health, dns: list[AskKubeconfig | AskRevoke]
) -> None:
    team, other = fresh(), fresh()
    pool = await pool_of(stack, spares=1, shared_with=[team, other])
    await pool.ready(1)
    async with stack.speaking_as(Role.DEVELOPER, team) as app, stack.speaking_as(Role.DEVELOPER, other) as others:
        lease = await pool.take(app)
        paths = [f"/v1/clusters/{lease[name]}" for name in ("cluster_id", "cluster")]
        for path in paths:
            for part in ("", "/timeline", "/nodes", "/grants"):
                await ok(app.get(path + part))
                assert (await others.get(path + part)).status_code == 404, path + part
            assert (await others.post(f"{path}/kubeconfig", json={})).status_code == 404
            assert (await ok(app.post(f"{path}/kubeconfig", json={"role": "admin"})))["kubeconfig"] == "kind: Config"
            refused = await app.delete(path)
            assert (refused.status_code, "only leases" in refused.json()["detail"]) == (403, True)
        assert [each["id"] for each in (await ok(app.get("/v1/clusters")))["items"]] == [lease["cluster_id"]]
        assert (await ok(others.get("/v1/clusters")))["items"] == []
        assert lease["cluster"] in await _first_of_stream(app)
        assert lease["cluster"] not in await _first_of_stream(others)
        await ok(app.delete(f"/v1/leases/{lease['id']}"))
        assert (await app.get(paths[0])).status_code == 404


async def test_the_next_spare_goes_to_the_team_that_has_the_fewest(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=0, max_making=1, shared_with=["*"])
    async with stack.speaking_as(Role.DEVELOPER, fresh()) as app, stack.speaking_as(Role.DEVELOPER, fresh()) as others:
        first, second, third = [await pool.take(app) for _ in range(3)]
        late = await pool.take(others)
        assert (late["position"], (await ok(app.get(f"/v1/leases/{second['id']}")))["position"]) == (2, 3)
        for served in (first, late, second, third):
            (cluster,) = await pool.made(1)
            await stack.make_ready(cluster)
            assert (await pool.lease_in(served, "Held"))["cluster_id"] == cluster["id"]


async def test_a_team_has_no_more_than_the_pool_allows_kept_ones_included(stack: Stack, health: Health) -> None:
    pool = await pool_of(stack, spares=3, max_making=3, max_leases_per_team=1, shared_with=["*"])
    await pool.ready(3)
    async with stack.speaking_as(Role.DEVELOPER, fresh()) as app, stack.speaking_as(Role.DEVELOPER, fresh()) as others:
        first, second = [await pool.take(app) for _ in range(2)]
        assert (first["state"], second["state"]) == ("Held", "Waiting")
        await pool.lease_in(await pool.take(others), "Held")
        await ok(app.delete(f"/v1/leases/{first['id']}", params={"keep_s": "600"}))
        assert (await pool.lease(second))["state"] == "Waiting"
        await ok(app.delete(f"/v1/leases/{first['id']}"))
        await pool.lease_in(second, "Held")


async def test_who_waits_for_a_pool_that_is_shared_no_more_is_told_and_leases_run_on(
    stack: Stack, health: Health
) -> None:
    team = fresh()
    pool = await pool_of(stack, spares=1, max_size=1, shared_with=[team])
    await pool.ready(1)
    async with stack.speaking_as(Role.DEVELOPER, team) as app:
        held, waits = [await pool.take(app) for _ in range(2)]
        own = await pool.take()
        etag = (await pool.get())["etag"]
        await ok(stack.http.patch(pool.path, json={"spec": {"shared_with": []}}, headers={"If-Match": etag}))
        ended = await pool.lease_in(waits, "Ended")
        assert ended["end_reason"] == "the pool is shared with its team no more"
        assert (await app.get(pool.path)).status_code == 404
        await ok(app.post(f"/v1/leases/{held['id']}/extend", json={}))
    assert (await pool.lease(own))["state"] == "Waiting"


async def test_a_name_that_several_teams_share_has_to_be_told_by_id(stack: Stack, health: Health) -> None:
    team = fresh()
    async with stack.speaking_as(Role.DEVELOPER, team) as app, stack.speaking_as(Role.DEVELOPER, fresh()) as others:
        body = {"name": fresh("p"), "spec": {"template": ClusterSpec.example, "spares": 0, "shared_with": ["*"]}}
        theirs = [await ok(http.post("/v1/pools", json=body)) for http in (app, others)]
        path = f"/v1/pools/{body['name']}"
        refused = await stack.http.get(path)
        assert (refused.status_code, "by its id" in refused.json()["detail"]) == (409, True)
        assert (await ok(stack.http.get(f"/v1/pools/{theirs[0]['id']}")))["team"] == team
        assert (await ok(app.get(path)))["team"] == team, "the own one"


def _three_days_off() -> Json:
    day = datetime.now(UTC) + timedelta(days=3)
    return {"windows": [{"days": [Weekday(f"{day:%a}".lower())], "start": "12:00"}]}


async def _pools_of(http: httpx.AsyncClient) -> set[str]:
    return {each["name"] for each in (await ok(http.get("/v1/pools", params={"limit": "500"})))["items"]}


async def _first_of_stream(http: httpx.AsyncClient) -> str:
    """What a team's stream of events begins with."""
    async with http.stream("GET", "/v1/events") as answer:
        return await anext(answer.aiter_text())


async def _falls_silent(stack: Stack, lease: Json, seconds: float) -> None:
    """As if its holder was last heard of so long ago."""
    async with stack.service.db.transaction() as tx:
        row = await tx.get_one(Lease, UUID(lease["id"]))
        row.heard_at = row.due_at = datetime.now(UTC) - timedelta(seconds=seconds)
        tx.add(row)
    stack.service.wake(pool_key(row.pool_id))


async def _is_in(cluster_id: UUID, asked: list[UUID]) -> bool:
    return cluster_id in asked


def _power(cluster: Json, generation: int) -> e.NodesPowerChanged:
    asleep = generation % 2 == 1
    counts = {"running": 0, "stopped": 3} if asleep else {"running": 3, "stopped": 0}
    return e.NodesPowerChanged(
        cluster_id=cluster["id"], power_generation=generation, asleep=asleep, complete=True, **counts
    )


async def test_spare_sleeps_is_woken_for_who_waits_and_tested_before_it_is_handed_out(
    stack: Stack, health: Health
) -> None:
    pool = await pool_of(stack, spares=2, max_size=2, hibernate_share=50)
    for cluster in await pool.made(2):
        await stack.make_ready(cluster)
    view = await pool.until(lambda view: (view["clusters"]["ready"], view["clusters"]["asleep"]) == (1, 1))
    assert view["clusters"]["making"] == 0
    (sleeper,) = await pool.clusters(phase="Hibernating")
    await stack.tell(_power(sleeper, 1))
    await stack.phase(sleeper, "Hibernated")
    first = await pool.take()
    assert first["state"] == "Held"
    assert first["cluster_id"] != sleeper["id"], "one that is awake is preferred"
    second = await pool.take()
    assert second["state"] == "Waiting"
    await stack.phase(sleeper, "Waking")
    health.ill[UUID(sleeper["id"])] = "no DNS yet"
    well = {"cluster_id": sleeper["id"], "since": datetime.now(UTC).isoformat()}
    await stack.tell(_power(sleeper, 2), e.HealthChanged.model_validate({**e.HealthChanged.example, **well}))
    await stack.phase(sleeper, "Ready")
    await eventually(lambda: _is_tested_since(health, sleeper))
    assert (await pool.lease(second))["state"] == "Waiting"
    del health.ill[UUID(sleeper["id"])]
    held = await pool.lease_in(second, "Held")
    assert held["cluster_id"] == sleeper["id"]


async def _is_tested_since(health: Health, cluster: Json) -> bool:
    return health.asked.count(UUID(cluster["id"])) > 1
