"""What decisions about pools and leases see: rows of the store as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.leases import Live
from caravan_api.decide.pools import Rules, Seen
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
    )


def next_try_at(pool: Pool, now: datetime) -> datetime | None:
    """Until when no cluster is made after some that did not come to be; None where the pool does not hold off."""
    until = pool.holds_off_until
    return until if until and until > now else None


# Columns, not rows: a pool may have a thousand of either.
_OF_A_CLUSTER: tuple[Any, ...] = (
    PoolCluster.cluster_id,
    PoolCluster.template_revision,
    PoolCluster.made_at,
    Cluster.phase,
    Cluster.verdict,
    PoolCluster.leaving,
    Cluster.deletion_asked_at,
    PoolCluster.lease_id,
    PoolCluster.ready_at,
    PoolCluster.tested_at,
    PoolCluster.failing_since,
    PoolCluster.problem,
)
_OF_A_LEASE: tuple[Any, ...] = (
    Lease.id,
    Lease.state,
    Lease.heard_at,
    Lease.heartbeat_s,
    Lease.granted_at,
    Lease.ends_at,
    Lease.warned,
    Cluster.deletion_asked_at,
)


async def look(session: AsyncSession, pool: Pool) -> Sequence[Seen]:
    """The pool's clusters that are not wholly deleted."""
    statement = (
        select(*_OF_A_CLUSTER)
        .join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id))
        .where(PoolCluster.pool_id == pool.id, col(Cluster.deleted_at).is_(None))
    )
    return [
        Seen(
            cluster_id=found.cluster_id,
            template_revision=found.template_revision,
            made_at=found.made_at,
            phase=ClusterPhase(found.phase),
            verdict=Verdict(found.verdict) if found.verdict else None,
            deleting=found.leaving or found.deletion_asked_at is not None,
            leased=found.lease_id is not None,
            ready_at=found.ready_at,
            tested_at=found.tested_at,
            failing_since=found.failing_since,
            problem=found.problem,
        )
        for found in (await session.exec(statement)).all()
    ]


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease of a pool that is not over. `lost`: somebody asked for the deletion of its cluster."""

    id: UUID
    live: Live
    lost: bool


async def live_leases(session: AsyncSession, pool: Pool, listening_since: datetime) -> Sequence[LiveLease]:
    """The pool's leases that are not over."""
    statement = (
        select(*_OF_A_LEASE)
        .join(Cluster, col(Cluster.id) == col(Lease.cluster_id), isouter=True)
        .where(Lease.pool_id == pool.id, col(Lease.ended_at).is_(None))
    )
    found = (await session.exec(statement)).all()
    return [LiveLease(each.id, live(each, listening_since), each.deletion_asked_at is not None) for each in found]


def live(lease: Any, listening_since: datetime) -> Live:
    """A lease that is not over, from its row or these columns. Nobody was heard before this process listened."""
    return Live(
        state=LeaseState(lease.state),
        heard_at=max(lease.heard_at, listening_since),
        heartbeat_s=lease.heartbeat_s,
        granted_at=lease.granted_at,
        ends_at=lease.ends_at,
        warned=lease.warned,
    )
