"""What happened long ago is forgotten, as long after as the settings say; 0 is never."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlmodel import select

from caravan_api import store
from caravan_api.app import MIGRATIONS
from caravan_api.housekeeping import Housekeeping
from caravan_api.pools.store import PoolCluster
from caravan_api.retention import Retention
from caravan_api.store import Cluster, Grant, TimelineEntry
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.rounds import Rounds
from tests.support.clock import ManualClock
from tests.support.store import opened

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIVE, GONE, JUST_GONE, IN_POOL = (UUID(int=number) for number in range(1, 5))


def _ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """A store with a live cluster and three deleted ones; each has a grant, an old and a new entry."""
    url = f"sqlite+aiosqlite:///{tmp_path}/api.db"
    async with opened(Database(url, store.Table.metadata, MIGRATIONS)) as db:
        async with db.transaction() as tx:
            for cluster_id, gone_at in {LIVE: None, GONE: _ago(11), JUST_GONE: _ago(9), IN_POOL: _ago(11)}.items():
                tx.add(_cluster(cluster_id, gone_at))
                await tx.flush()  # the audit of a grant looks its cluster up
                tx.add(Grant(grant_id=cluster_id, cluster_id=cluster_id, user="u"))
                tx.add_all(_entry(cluster_id, days) for days in (21, 19))
            tx.add(PoolCluster(cluster_id=IN_POOL, pool_id=LIVE, template_revision=1, made_at=_ago(12)))
        yield db


def _cluster(cluster_id: UUID, deleted_at: datetime | None) -> Cluster:
    return Cluster(
        id=cluster_id,
        team="t",
        name=f"c{cluster_id.int}",
        created_by="u",
        created_at=_ago(30),
        updated_at=_ago(30),
        spec={},
        deleted_at=deleted_at,
        announced_at=_ago(30),
        facts={},
        phase="Ready",
        version="1.34.2",
        cloud="sandbox",
        nodes_wanted=0,
        node_sets=[],
    )


def _entry(cluster_id: UUID, days: int) -> TimelineEntry:
    return TimelineEntry(
        id=100 * cluster_id.int + days,
        cluster_id=cluster_id,
        team="t",
        at=_ago(days),
        kind="k",
        text="x",
        source="s",
        data={},
    )


async def _after(db: Database, retention: Retention) -> tuple[set[UUID], set[UUID], int]:
    """Clusters and grants that are left, and how many entries."""
    async with db.transaction() as tx:
        await retention.forget(tx, NOW)
    async with db.reading() as session:
        clusters = set((await session.exec(select(Cluster.id))).all())
        grants = set((await session.exec(select(Grant.cluster_id))).all())
        return clusters, grants, len((await session.exec(select(TimelineEntry.id))).all())


async def test_nothing_is_forgotten_where_all_is_kept_for_ever(db: Database) -> None:
    everything = {LIVE, GONE, JUST_GONE, IN_POOL}
    assert await _after(db, Retention(0, 0)) == (everything, everything, 8)


async def test_old_entries_go_and_clusters_stay(db: Database) -> None:
    assert (await _after(db, Retention(20, 0)))[2] == 4


async def test_cluster_deleted_long_ago_goes_with_all_of_it_unless_a_pool_counts_it(db: Database) -> None:
    left = {LIVE, JUST_GONE, IN_POOL}
    assert await _after(db, Retention(0, 10)) == (left, left, 6)


async def test_one_replica_tidies_up_for_all_until_it_is_gone(db: Database) -> None:
    clock = ManualClock(NOW)
    gone, stays = (_housekeeping(db, clock, name) for name in ("gone", "stays"))
    await gone.tidy()
    await _put_back(db)
    await stays.tidy()
    assert GONE in await _kept(db)
    clock.advance(3600)
    await stays.tidy()
    assert GONE not in await _kept(db)


def _housekeeping(db: Database, clock: ManualClock, replica: str) -> Housekeeping:
    a_day_s = 86_400
    return Housekeeping(db, clock, Rounds(db, clock, replica), a_day_s, a_day_s, Retention(0, 10))


async def _put_back(db: Database) -> None:
    assert GONE not in await _kept(db)
    async with db.transaction() as tx:
        tx.add(_cluster(GONE, _ago(11)))


async def _kept(db: Database) -> set[UUID]:
    async with db.reading() as session:
        return set(await session.exec(select(Cluster.id)))
