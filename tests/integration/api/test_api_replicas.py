"""Two replicas of the api on one store: whichever a client speaks to, it sees all that happens, once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from caravan_api.pools.keys import pool_key
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import LEASES
from tests.integration.api.conftest import Stack, fresh, running
from tests.integration.api.test_api_pools import answering, pool_of
from tests.integration.api.test_api_streams import reading
from tests.support.database_away import Switch
from tests.support.nats import NatsServer
from tests.support.postgres import fresh_database

LEASE_S = 2


@dataclass
class Two:
    """Both replicas; each hears a part of what the services say."""

    one: Stack
    other: Stack
    nats: NatsServer
    database_url: str


@pytest.fixture(scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> AsyncIterator[Two]:
    """Both, once for all tests: each has clusters of its own."""
    folder = tmp_path_factory.mktemp("replicas")
    nats = NatsServer(folder / "nats")
    nats.start()
    async with (
        fresh_database(postgres_server) as url,
        running(folder, nats, database_url=url, instance="one", lease_s=LEASE_S) as one,
        running(folder, nats, database_url=url, instance="other", lease_s=LEASE_S) as other,
    ):
        await one.offer()
        await one.add_team("builds")
        yield Two(one, other, nats, url)
    nats.stop()


async def _timeline(stack: Stack, cluster: dict[str, Any]) -> list[int]:
    entries = (await stack.http.get(f"/v1/clusters/{cluster['id']}/timeline?limit=100")).json()["items"]
    return sorted(entry["id"] for entry in entries)


async def test_stream_of_one_replica_tells_what_came_in_by_the_other_and_goes_on_at_that(two: Two) -> None:
    cluster = await two.one.create()
    path, seen = f"/v1/clusters/{cluster['id']}/events", list[int]()
    async with reading(two.other.http, path) as stream:
        first = await anext(stream)
        assert first
        await two.one.make_ready(cluster)
        async for event in stream:
            if event and event[1] == "timeline":
                seen.append(event[0])
                if len(seen) == 2:  # the connection breaks in the middle
                    break
    missed = [number for number in await _timeline(two.one, cluster) if number > first[0]]
    async with reading(two.one.http, path, seen[-1]) as stream:
        async for event in stream:
            if event and event[1] == "timeline":
                seen.append(event[0])
            if seen[-1] >= missed[-1]:
                break
    assert seen == missed


async def test_request_that_is_sent_again_to_the_other_replica_makes_no_second_cluster(two: Two) -> None:
    body, key = {"name": fresh(), "spec": ClusterSpec.example}, {"Idempotency-Key": fresh()}
    first, again = [await stack.http.post("/v1/clusters", json=body, headers=key) for stack in (two.one, two.other)]
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert await _timeline(two.one, first.json()) == await _timeline(two.other, first.json())


async def test_change_that_was_read_at_one_replica_is_refused_by_the_other_once_it_is_stale(two: Two) -> None:
    cluster = await two.one.create()
    stale = {"If-Match": cluster["etag"], "Content-Type": "application/merge-patch+json"}
    path = f"/v1/clusters/{cluster['id']}"
    first = await two.one.http.patch(path, json={"spec": {"version": "1.35.1"}}, headers=stale)
    second = await two.other.http.patch(path, json={"spec": {"version": "1.33.6"}}, headers=stale)
    assert (first.status_code, second.status_code) == (202, 412), (first.text, second.text)


async def test_what_one_replica_has_changed_is_what_the_other_tells_of_from_the_next_request_on(two: Two) -> None:
    cluster = await two.one.create()
    path, patch = f"/v1/clusters/{cluster['id']}", {"Content-Type": "application/merge-patch+json", "If-Match": "*"}
    for count in range(3, 12):
        known = {"If-None-Match": (await two.other.http.get(path)).headers["ETag"]}
        others = [asyncio.create_task(two.other.http.get(path, headers=known)) for _ in range(8)]
        change = {"spec": {"workers": [{"name": "workers", "count": count}]}}
        wanted = (await two.one.http.patch(path, json=change, headers=patch)).json()["generation"]
        seen = await two.other.http.get(path, headers=known)
        assert seen.status_code == 200
        assert seen.json()["generation"] == wanted
        assert {answer.status_code for answer in await asyncio.gather(*others)} <= {200, 304}


async def test_a_token_that_one_replica_has_revoked_opens_nothing_at_the_other_from_the_next_request_on(
    two: Two,
) -> None:
    for _ in range(5):
        token = await two.one.token(fresh())
        async with two.other.client(token) as member:
            assert (await member.get("/v1/clusters")).status_code == 200
            others = [asyncio.create_task(member.get("/v1/clusters")) for _ in range(8)]
            newest = (await two.one.http.get("/v1/tokens")).json()["items"][-1]
            assert (await two.one.http.delete(f"/v1/tokens/{newest['id']}")).status_code == 204
            assert (await member.get("/v1/clusters")).status_code == 401
            assert {answer.status_code for answer in await asyncio.gather(*others)} <= {200, 401}


async def test_request_that_finds_the_store_away_is_told_to_come_again_and_then_answered(
    two: Two,
) -> None:
    cluster = await two.one.create()
    async with Switch.of(two.database_url) as switch:
        await switch.off()
        refused = await two.one.http.get(f"/v1/clusters/{cluster['id']}")
        assert (refused.status_code, refused.json()["retry_helps"]) == (503, True), refused.text
        assert int(refused.headers["Retry-After"]) > 0
    assert (await two.one.http.get(f"/v1/clusters/{cluster['id']}")).json()["name"] == cluster["name"]
    assert (await two.other.create())["phase"] == "Requested"


async def test_replicas_keep_a_pool_as_one_and_go_on_when_the_one_who_did_is_gone(
    two: Two,
) -> None:
    async with answering(two.one, two.nats):
        pool = await pool_of(two.one, spares=3)
        await pool.ready(3)
        key = pool_key(UUID(pool.view["id"]))
        for replica in (two.one, two.other):
            replica.service.wake(key)
        await _die_in_a_turn(two.one.service.db, key)
        await pool.take()
        (replacement,) = await pool.made(1)
        await two.other.make_ready(replacement)
        await pool.until(lambda view: view["clusters"]["ready"] == 3)
        assert len(await pool.clusters()) == 4, "three spares, and the one that was taken"


async def _die_in_a_turn(db: Database, key: str) -> None:
    """As a third replica would that took this turn over and was killed: its lease lasts on."""
    until = datetime.now(UTC) + timedelta(seconds=LEASE_S)
    async with db.transaction() as tx:
        of_it = update(LEASES).where(LEASES.c.key == key)
        await tx.exec(of_it.values(holder="third/1", epoch=LEASES.c.epoch + 1, until=until))
