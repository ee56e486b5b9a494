"""What is kept, on SQLite and PostgreSQL: facts in any order, fenced verdicts, sums by the hour."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from caravan_health import handlers
from caravan_health.app import MIGRATIONS
from caravan_health.beliefs import Change, claim, write
from caravan_health.history import History
from caravan_health.settings import Settings
from caravan_health.store import (
    ClusterHealth,
    HealthHour,
    NodeHealth,
    Table,
    Transition,
    Watched,
    WatchedNode,
    live_keys,
    targets,
    versions,
)
from caravan_health.verdict import NodeBelief, unasked
from caravan_shared.contracts.events import (
    BootstrapDone,
    EndpointIssued,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import Connection, NodeRef, ReadyNode
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import OUTBOX
from tests.support.store import migrated
from tests.support.tls import HOST

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield db


class StoppedClock:
    """Always the same moment."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def facts(cluster_id: UUID) -> list[tuple[Callable[..., Awaitable[None]], Any]]:
    def endpoint(address: str) -> EndpointIssued:
        return EndpointIssued(
            cluster_id=cluster_id,
            host=HOST,
            port=6443,
            addresses=(address,),
            zone="null",
            resolvable=False,
            ca_certificate="PEM",
        )

    def refs(*names: str) -> tuple[NodeRef, ...]:
        return tuple(NodeRef(name=name, node_set="workers") for name in names)

    ready = tuple(
        ReadyNode(
            name=name,
            node_set="workers",
            role=Role.WORKER,
            machine_id=name,
            address="127.0.0.9",
            connection=Connection.SSH,
            joins_by_itself=True,
        )
        for name in ("w-1", "w-2", "w-3")
    )
    return [
        (handlers.endpoint_issued, endpoint("127.0.0.1")),
        (handlers.endpoint_issued, endpoint("127.0.0.2")),
        (handlers.bootstrap_done, BootstrapDone(cluster_id=cluster_id, generation=1, version="1.34.2", nodes=3)),
        (handlers.nodes_ready, NodesReady(cluster_id=cluster_id, generation=1, complete=True, nodes=ready)),
        (handlers.nodes_joined, NodesJoined(cluster_id=cluster_id, version="1.34.2", nodes=refs("w-1", "w-2", "w-3"))),
        (handlers.nodes_leaving, NodesLeaving(cluster_id=cluster_id, nodes=refs("w-2", "w-3"))),
        (handlers.nodes_removed, NodesRemoved(cluster_id=cluster_id, remaining=2, nodes=refs("w-3"))),
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_facts_lead_to_the_same_target_in_any_order_and_doubled(db: Database, seed: int) -> None:
    cluster_id = uuid4()
    heard = [
        (handle, Heard(event, str(uuid4()), sequence, "test", NOON, event.subject))
        for sequence, (handle, event) in enumerate(facts(cluster_id), start=1)
    ]
    deck = heard * 2
    random.Random(seed).shuffle(deck)
    async with db.transaction() as tx:
        for handle, fact in deck:
            await handle(fact, tx)
    async with db.reading() as session:
        (target,) = await targets(session, list(await versions(session)))
    assert target.addresses == ("127.0.0.2",)
    assert target.nodes == target.joined == {"w-1"}
    assert target.leaving == {"w-2"}


async def test_version_rises_with_every_fact(db: Database) -> None:
    cluster_id, seen = uuid4(), []
    for sequence, (handle, event) in enumerate(facts(cluster_id), start=1):
        async with db.transaction() as tx:
            await handle(Heard(event, str(uuid4()), sequence, "test", NOON, event.subject), tx)
        async with db.reading() as session:
            watched = await session.get(Watched, cluster_id)
        assert watched
        seen.append(watched.version)
    assert seen == sorted(set(seen))


async def test_replica_that_lost_a_cluster_writes_nothing_about_it(db: Database) -> None:
    cluster_id = uuid4()
    change = Change(unasked(NOON), [], {"w-1": NodeBelief(Verdict.HEALTHY, "Ready", NOON)})
    async with db.transaction() as tx:
        await claim(tx, [cluster_id], "stale", NOON)
        await claim(tx, [cluster_id], "new", NOON)
    async with db.transaction() as tx:
        assert await write(tx, {cluster_id: change}, "stale", NOON) == set()
    async with db.reading() as session:
        assert (await session.exec(select(NodeHealth))).all() == []
        assert (await (await session.connection()).execute(OUTBOX.select())).all() == []
    async with db.transaction() as tx:
        assert await write(tx, {cluster_id: change}, "new", NOON) == {cluster_id}


async def test_thousand_nodes_are_written_at_once_and_said_in_chunks(db: Database) -> None:
    cluster_id = uuid4()
    nodes = {f"w-{number}": NodeBelief(Verdict.HEALTHY, "Ready", NOON) for number in range(1019)}
    async with db.transaction() as tx:
        await claim(tx, [cluster_id], "me", NOON)
        await write(tx, {cluster_id: Change(nodes=nodes)}, "me", NOON)
    async with db.reading() as session:
        assert len((await session.exec(select(NodeHealth))).all()) == 1019
        assert len((await (await session.connection()).execute(OUTBOX.select())).all()) == 6


async def test_history_is_summed_by_the_hour_once_by_whichever_replica_and_forgotten_in_time(
    db: Database, tmp_path: Path
) -> None:
    cluster_id, settings = uuid4(), Settings(state_dir=tmp_path, transitions_kept_days=1, hours_kept_days=30)
    async with db.transaction() as tx:
        await claim(tx, [cluster_id], "me", NOON)
        held = await tx.get_one(ClusterHealth, cluster_id)
        held.verdict = Verdict.HEALTHY
        for minutes, old, new in (
            (30, Verdict.UNKNOWN, Verdict.HEALTHY),
            (75, Verdict.HEALTHY, Verdict.UNREACHABLE),
            (80, Verdict.UNREACHABLE, Verdict.HEALTHY),
        ):
            at = NOON + timedelta(minutes=minutes)
            tx.add(Transition(cluster_id=cluster_id, at=at, old=old, new=new, reason=""))
    later = NOON + timedelta(hours=2, minutes=20)
    await History(db, StoppedClock(later), settings).tidy()
    hours = await _hours(db)
    assert [(hour.hour, hour.unknown_s, hour.healthy_s, hour.unreachable_s) for hour in hours] == [
        (NOON, 1800, 1800, 0),
        (NOON + timedelta(hours=1), 0, 3300, 300),
    ]
    replicas = [History(db, StoppedClock(NOON + timedelta(days=2)), settings) for _ in range(2)]
    await asyncio.gather(*(each.tidy() for each in replicas))
    async with db.reading() as session:
        assert (await session.exec(select(Transition))).all() == []
    assert len(await _hours(db)) == 48
    assert sum(hour.healthy_s for hour in (await _hours(db))[2:]) == 46 * 3600


async def test_tombstones_are_kept_for_a_week(db: Database, tmp_path: Path) -> None:
    cluster_id = uuid4()
    async with db.transaction() as tx:
        tx.add(Watched(cluster_id=cluster_id, deleted_at=NOON))
        tx.add(WatchedNode(cluster_id=cluster_id, name="w-1", removed_at=NOON))
    for days, left in ((6, 1), (8, 0)):
        await History(db, StoppedClock(NOON + timedelta(days=days)), Settings(state_dir=tmp_path)).tidy()
        async with db.reading() as session:
            assert len((await session.exec(select(Watched))).all()) == left
            assert len((await session.exec(select(WatchedNode))).all()) == left


async def test_only_clusters_with_something_left_to_do_are_live(db: Database) -> None:
    settled, unsaid, gone, forgotten = (uuid4() for _ in range(4))
    async with db.transaction() as tx:
        tx.add(Watched(cluster_id=settled, announcement=2, said_announcement=2))
        tx.add(Watched(cluster_id=unsaid, announcement=3, said_announcement=2))
        tx.add(Watched(cluster_id=gone, deleted_at=NOON))
        tx.add(Watched(cluster_id=forgotten, deleted_at=NOON, announcement=3))
        await claim(tx, [settled, gone], "me", NOON)
    async with db.reading() as session:
        assert set(await live_keys(session)) == {str(unsaid), str(gone)}


async def _hours(db: Database) -> list[HealthHour]:
    async with db.reading() as session:
        return list((await session.exec(select(HealthHour).order_by(col(HealthHour.hour)))).all())
