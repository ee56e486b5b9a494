"""What decisions about pools and leases see: rows of the store as plain values.

A pool may have a thousand clusters and leases. Only spares, whoever waits and what is due are read one by one; the rest
is counted where it lies.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, not_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.leases import Live
from caravan_api.decide.pools import Bucket, Others, Rules, Seen, bucket
from caravan_api.decide.turns import Shares, Turns, Waiter, turns
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Lease, Pool, PoolCluster
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase, LeaseState, Verdict


def rules_of(pool: Pool, now: datetime) -> Rules:
    """What a pool asks for at this moment. One that is being deleted wants nothing."""
    spec = PoolSpec.model_validate(pool.spec)
    is_ending = pool.deletion_asked_at is not None
    return Rules(
        spares=0 if is_ending else spec.spares_at(now),
        max_size=spec.max_size,
        max_making=0 if is_ending else spec.max_making,
        template_revision=pool.template_revision,
        max_making_s=spec.max_making_s,
        max_spare_age_s=spec.max_spare_age_s,
        smoke_max_age_s=spec.smoke_max_age_s,
        hibernate_share=spec.hibernate_share,
        roll_waits=not is_ending and spec.roll_waits_for(now) is not None,
    )


def next_try_at(pool: Pool, now: datetime) -> datetime | None:
    """Until when no cluster is made after some that did not come to be; None where the pool does not hold off."""
    until = pool.holds_off_until
    return until if until and until > now else None


# --- clusters ---

_OF_A_CLUSTER: tuple[Any, ...] = (
    PoolCluster.cluster_id,
    PoolCluster.template_revision,
    PoolCluster.made_at,
    Cluster.phase,
    Cluster.verdict,
    PoolCluster.ready_at,
    PoolCluster.tested_at,
    PoolCluster.failing_since,
    PoolCluster.problem,
    Cluster.asleep,
    Cluster.woken_at,
)
_IS_LEASED = col(PoolCluster.lease_id).is_not(None)
_LEAVES = or_(col(PoolCluster.leaving), col(Cluster.deletion_asked_at).is_not(None))
_IS_GONE = col(Cluster.deleted_at).is_not(None)
_NUMBERS: tuple[Any, ...] = (
    func.count().filter(not_(_LEAVES)).label("leased"),
    func.count().filter(_LEAVES, not_(_IS_GONE)).label("leaving"),
    func.count().filter(_IS_GONE).label("gone"),
)


@dataclass(frozen=True, slots=True)
class Sight:
    """A pool's clusters: those that are nobody's one by one, the others in numbers."""

    clusters: Sequence[Seen]
    others: Others
    gone: int
    """Wholly deleted, and not yet forgotten by the pool."""


async def look(session: AsyncSession, pool: Pool) -> Sight:
    """The pool's clusters."""
    is_its_own = (col(Cluster.id) == col(PoolCluster.cluster_id), PoolCluster.pool_id == pool.id)
    spares = select(*_OF_A_CLUSTER).where(*is_its_own, not_(_IS_LEASED), not_(_LEAVES))
    others = select(*_NUMBERS).where(*is_its_own, or_(_IS_LEASED, _LEAVES))
    seen = [_seen(row) for row in (await session.exec(spares)).all()]
    numbers = (await session.exec(others)).one()
    return Sight(seen, Others(numbers.leased, numbers.leaving), numbers.gone)


async def look_closer(session: AsyncSession, pool: Pool, now: datetime, most: int) -> list[tuple[Bucket, Cluster]]:
    """The pool's clusters, each with what it is to the pool, oldest first, at most so many; none that are gone."""
    rules = rules_of(pool, now)
    of_pool = (col(Cluster.id) == col(PoolCluster.cluster_id), PoolCluster.pool_id == pool.id, not_(_IS_GONE))
    columns: tuple[Any, ...] = (Cluster, *_OF_A_CLUSTER, _IS_LEASED.label("is_leased"), _LEAVES.label("leaves"))
    statement = select(*columns).where(*of_pool).order_by(col(PoolCluster.made_at)).limit(most)
    rows = (await session.exec(statement)).all()
    return [(_bucket(row, rules, now), row[0]) for row in rows]


def _bucket(row: Any, rules: Rules, now: datetime) -> Bucket:
    if row.leaves:
        return Bucket.LEAVING
    return Bucket.LEASED if row.is_leased else bucket(_seen(row), rules, now)


def _seen(row: Any) -> Seen:
    return Seen(
        cluster_id=row.cluster_id,
        template_revision=row.template_revision,
        made_at=row.made_at,
        phase=ClusterPhase(row.phase),
        verdict=Verdict(row.verdict) if row.verdict else None,
        ready_at=row.ready_at,
        tested_at=row.tested_at,
        failing_since=row.failing_since,
        problem=row.problem,
        asleep=row.asleep,
        woken_at=row.woken_at,
    )


# --- leases ---

_IS_OPEN = col(Lease.ended_at).is_(None)
_WAITS = (col(Lease.granted_at).is_(None), _IS_OPEN)
"""In the words of an index, which a comparison of the state is not."""
_HAS_A_CLUSTER = (col(Lease.granted_at).is_not(None), _IS_OPEN)


async def waiting(session: AsyncSession, pool: Pool) -> Sequence[Waiter]:
    """Whoever waits for one of the pool's clusters, first come first."""
    statement = select(Lease.id, Lease.team, Lease.holder).where(Lease.pool_id == pool.id, *_WAITS)
    rows = (await session.exec(statement.order_by(col(Lease.asked_at), col(Lease.id)))).all()
    return [Waiter(*row) for row in rows]


async def how_many_wait(session: AsyncSession, pool: Pool) -> int:
    """The length of the pool's queue."""
    return int((await session.exec(select(func.count()).where(Lease.pool_id == pool.id, *_WAITS))).one())


def somebody_waits(pool_id: Any) -> Any:
    """The condition that a pool has a queue, for a statement about something else."""
    return select(Lease.id).where(Lease.pool_id == pool_id, *_WAITS).exists()


async def shares(session: AsyncSession, pool: Pool) -> Shares:
    """Who has how many of the pool's clusters."""
    grouped = (col(Lease.team), col(Lease.holder), col(Lease.state))
    statement = select(*grouped, func.count()).where(Lease.pool_id == pool.id, *_HAS_A_CLUSTER).group_by(*grouped)
    of_teams, of_holders = Counter[str](), Counter[tuple[str, str]]()
    for team, holder, state, leases in (await session.exec(statement)).all():
        of_teams[team] += leases
        of_holders[team, holder] += leases if state == LeaseState.HELD else 0
    return Shares(of_teams, of_holders)


async def turns_of(session: AsyncSession, pool: Pool) -> Turns:
    """The pool's queue in the order in which it is served."""
    queue = await waiting(session, pool)
    if not queue:
        return Turns((), ())
    return turns(queue, await shares(session, pool), PoolSpec.model_validate(pool.spec).quotas)


async def due(session: AsyncSession, pool: Pool, now: datetime) -> Sequence[UUID]:
    """Leases that something is to be done about now."""
    statement = select(Lease.id).where(Lease.pool_id == pool.id, _IS_OPEN, col(Lease.due_at) <= now)
    return (await session.exec(statement)).all()


async def next_due_at(session: AsyncSession, pool: Pool) -> datetime | None:
    """When something is next to be done about a lease of the pool; None: never."""
    statement = select(func.min(col(Lease.due_at))).where(Lease.pool_id == pool.id, _IS_OPEN)
    return (await session.exec(statement)).one()


async def lost(session: AsyncSession, pool: Pool) -> Sequence[UUID]:
    """Leases whose cluster somebody has asked to delete."""
    statement = (
        select(Lease.id)
        .join(Cluster, col(Cluster.id) == col(Lease.cluster_id))
        .where(Lease.pool_id == pool.id, _IS_OPEN, col(Cluster.deletion_asked_at).is_not(None))
    )
    return (await session.exec(statement)).all()


async def are_open(session: AsyncSession, pool: Pool) -> bool:
    """True while the pool has a lease that is not over."""
    return (await session.exec(select(Lease.id).where(Lease.pool_id == pool.id, _IS_OPEN).limit(1))).first() is not None


def live(lease: Lease, listening_since: datetime) -> Live:
    """A lease that is not over, as decisions see it. Nobody was heard before this process listened."""
    return Live(
        state=LeaseState(lease.state),
        heard_at=max(lease.heard_at, listening_since),
        heartbeat_s=lease.heartbeat_s,
        granted_at=lease.granted_at,
        ends_at=lease.ends_at,
        warned=lease.warned,
    )
