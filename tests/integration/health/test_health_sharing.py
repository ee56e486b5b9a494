"""A replica that is killed says no word: the others notice by its heartbeat, in time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from uuid import UUID, uuid4

import pytest

from caravan_health.app import MIGRATIONS, monitor_for
from caravan_health.credentials import Credentials
from caravan_health.settings import Settings
from caravan_health.shares import share_of
from caravan_health.sharing import LOOK_AGAIN_S, Sharing
from caravan_health.store import Replica, Table, change_watched
from caravan_health.watch import Watch
from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import Retry
from tests.integration.health.conftest import nobody_else
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.store import migrated
from tests.support.tls import HOST

PROMISED_S = 10.0
CLUSTERS = frozenset(uuid4() for _ in range(20))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        async with db.transaction() as tx:
            for cluster_id in CLUSTERS:
                await change_watched(tx, cluster_id, started=True, host=HOST, port=6443)
        yield db


async def nothing(_: AskClientCertificate, __: type[ClientCertificate]) -> ClientCertificate:
    raise Retry("nobody looks in this test")


async def test_clusters_of_a_replica_that_was_killed_are_taken_over_within_ten_seconds(db: Database) -> None:
    clock, settings, live = ManualClock(), Settings(), list[Iterable[str]]()
    watch = Watch(settings, monitor_for(settings), Credentials(nothing, clock), clock, lambda *_: None, nobody_else)
    one = Sharing(
        db,
        clock,
        watch,
        lambda _: None,
        live.append,
        replica="one",
        silent_after_s=settings.replica_silent_after_s,
        spread_s=settings.probe_every_s,
    )
    async with db.transaction() as tx:
        tx.add(Replica(name="two", beat_at=clock.now()))  # its last: it is killed right after
    running = asyncio.create_task(one.run())

    async def follows(clusters: Iterable[UUID]) -> None:
        await eventually(lambda: watch.following().keys() == set(clusters))

    await follows(share_of("one", CLUSTERS, ("one", "two")))
    assert list(live[-1]) == ["one", "two"]
    clock.advance(PROMISED_S - LOOK_AGAIN_S)  # the last look at heartbeats within the time, at worst
    await follows(CLUSTERS)
    assert list(live[-1]) == ["one"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with db.reading() as session:
        assert await session.get(Replica, "one") is None
        assert await session.get(Replica, "two") is not None
