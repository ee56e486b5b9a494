"""What decisions about pools and leases see: rows of the store as plain values."""

from collections.abc import Sequence
from datetime import datetime

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


async def look(session: AsyncSession, pool: Pool) -> Sequence[Seen]:
    """The pool's clusters that are not wholly deleted."""
    statement = (
        select(PoolCluster, Cluster.phase, Cluster.verdict, Cluster.deletion_asked_at)
        .join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id))
        .where(PoolCluster.pool_id == pool.id, col(Cluster.deleted_at).is_(None))
    )
    return [
        Seen(
            cluster_id=found.cluster_id,
            template_revision=found.template_revision,
            made_at=found.made_at,
            phase=ClusterPhase(phase),
            verdict=Verdict(verdict) if verdict else None,
            deleting=found.leaving or deletion_asked_at is not None,
            leased=found.lease_id is not None,
            ready_at=found.ready_at,
            tested_at=found.tested_at,
            failing_since=found.failing_since,
            problem=found.problem,
        )
        for found, phase, verdict, deletion_asked_at in await session.exec(statement)
    ]


def live(lease: Lease, listening_since: datetime) -> Live:
    """A lease that is not over. Nobody was heard before this process listened."""
    return Live(
        state=LeaseState(lease.state),
        heard_at=max(lease.heard_at, listening_since),
        heartbeat_s=lease.heartbeat_s,
        granted_at=lease.granted_at,
        ends_at=lease.ends_at,
        warned=lease.warned,
    )
