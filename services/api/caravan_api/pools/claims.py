"""Claim spares for leases. No spare goes to two: whoever claims one holds its row locked and others pass it over.

On PostgreSQL that is SKIP LOCKED; SQLite has one writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, String, Update, Uuid, bindparam, cast, func, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.pools.sight import somebody_waits
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool, PoolCluster
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase, Verdict

_DIGITS = 32  # of an id


@dataclass(frozen=True, slots=True)
class Spare:
    """A cluster of a pool that is a lease's from now on."""

    lease_id: UUID
    cluster_id: UUID
    name: str


async def claim(
    tx: AsyncSession, pool: Pool, spec: PoolSpec, leases: Sequence[UUID], now: datetime, *, if_nobody_waits: bool
) -> Sequence[Spare]:
    """A spare of the pool for each of the leases, or for the first of them as far as there are spares."""
    if not leases:
        return ()
    wanted = {
        "pool": pool.id,
        "earliest": _earliest_template(pool, spec, now),
        "tested_since": now - timedelta(seconds=spec.smoke_max_age_s),
        "leases": "".join(lease.hex for lease in leases),
        "count": len(leases),
    }
    rows = (await tx.exec(_CLAIM_IF_NOBODY_WAITS if if_nobody_waits else _CLAIM, params=wanted)).all()
    claimed = {row.lease_id: Spare(*row) for row in rows}
    return [claimed[lease] for lease in leases if lease in claimed]


def _claiming(*conditions: ColumnElement[bool]) -> Update:
    """The `count` oldest fit spares, those of the newest template first, become those of `leases`, in one statement.

    `leases` are the ids' digits, one id after the other, in the order of the spares. They and their clusters are locked
    as they are found, and spares that others have locked are passed over. It returns a `Spare` for each.
    """
    fit = (
        select(PoolCluster.cluster_id, PoolCluster.template_revision, PoolCluster.made_at)
        .join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id))
        .where(
            PoolCluster.pool_id == bindparam("pool"),
            col(PoolCluster.template_revision) >= bindparam("earliest"),
            col(PoolCluster.lease_id).is_(None),
            col(PoolCluster.leaving).is_(False),
            col(PoolCluster.tested_at) >= bindparam("tested_since"),
            or_(col(Cluster.woken_at).is_(None), col(PoolCluster.tested_at) >= col(Cluster.woken_at)),
            Cluster.phase == ClusterPhase.READY.value,
            Cluster.verdict == Verdict.HEALTHY.value,
            col(Cluster.deletion_asked_at).is_(None),
            *conditions,
        )
        .order_by(col(PoolCluster.template_revision).desc(), col(PoolCluster.made_at))
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
        .cte("fit")
    )
    nth = func.row_number().over(order_by=(fit.c.template_revision.desc(), fit.c.made_at))
    numbered = select(fit.c.cluster_id, cast(nth, Integer).label("nth")).cte("numbered")
    digits = func.substr(bindparam("leases", type_=String), _DIGITS * (numbered.c.nth - 1) + 1, _DIGITS)
    name = select(Cluster.name).where(Cluster.id == PoolCluster.cluster_id).scalar_subquery()
    claimed = update(PoolCluster).where(col(PoolCluster.cluster_id) == numbered.c.cluster_id)
    return (
        claimed.values(lease_id=cast(digits, Uuid))
        .returning(col(PoolCluster.lease_id), col(PoolCluster.cluster_id), name.label("name"))
        .execution_options(synchronize_session=False)
    )


_CLAIM = _claiming()
_CLAIM_IF_NOBODY_WAITS = _claiming(~somebody_waits(bindparam("pool")))


def _earliest_template(pool: Pool, spec: PoolSpec, now: datetime) -> int:
    """The earliest revision that a spare may be of: any, while their replacement waits for its window."""
    return 1 if spec.roll_waits_for(now) else pool.template_revision
