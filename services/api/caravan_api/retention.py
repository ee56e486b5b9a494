"""Forget what happened long ago. What people ask for and who did it (the audit) stays."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.pools.store import PoolCluster
from caravan_api.store import Cluster, Grant, TimelineEntry

_CLUSTERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days things are kept; 0 is for ever."""

    timeline_days: float
    deleted_clusters_days: float

    async def forget(self, tx: AsyncSession, now: datetime) -> None:
        """Drop what is older than that."""
        if self.timeline_days:
            await tx.exec(delete(TimelineEntry).where(col(TimelineEntry.at) < now - timedelta(days=self.timeline_days)))
        if self.deleted_clusters_days:
            await _forget_clusters(tx, now - timedelta(days=self.deleted_clusters_days))


async def _forget_clusters(tx: AsyncSession, deleted_before: datetime) -> None:
    """Drop clusters with all that was told of them; those that a pool still counts stay."""
    in_pool = select(PoolCluster.cluster_id).where(col(PoolCluster.cluster_id) == col(Cluster.id)).exists()
    old = select(Cluster.id).where(col(Cluster.deleted_at) < deleted_before, ~in_pool).limit(_CLUSTERS_AT_ONCE)
    ids = (await tx.exec(old)).all()
    await tx.exec(delete(TimelineEntry).where(col(TimelineEntry.cluster_id).in_(ids)))
    await tx.exec(delete(Grant).where(col(Grant.cluster_id).in_(ids)))
    await tx.exec(delete(Cluster).where(col(Cluster.id).in_(ids)))
