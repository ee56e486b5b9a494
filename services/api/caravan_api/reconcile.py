"""Bring every cluster to an end: say again what is wanted until it is so.

one cluster
├── it is gone              → nothing any more
├── its lifetime ends       → warn its owners in time, then want it no more
├── it has been quiet       → announce the desired state again, under a higher number
└── otherwise               → come back when the next announcement would be due
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.announce import Pauses, Silence, announce_at
from caravan_api.decide.endings import Lifetime
from caravan_api.desired import Desired
from caravan_api.nodes import forget_removed
from caravan_api.recorder import lock_cluster
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

_SETTLED = (ClusterPhase.READY, ClusterPhase.HIBERNATED)


async def live_keys(session: AsyncSession) -> list[str]:
    """Every cluster that is not wholly deleted."""
    return [str(key) for key in await session.exec(select(Cluster.id).where(col(Cluster.deleted_at).is_(None)))]


@dataclass(frozen=True, slots=True)
class ClusterReconciler:
    """One cluster at a time, under the plumbing's lease."""

    desired: Desired
    pauses: Pauses
    forget_nodes_s: float

    async def reconcile(self, turn: Turn) -> float | None:
        """Take one step for a cluster; return the seconds until the next look, None when nothing is left to do."""
        async with turn.reading() as session:
            cluster = await session.get(Cluster, UUID(turn.key))
        if cluster is None or cluster.deleted_at:
            return None
        if self._due(cluster) <= turn.now():
            cluster = await self._act(turn)
        due_in_s = (self._due(cluster) - turn.now()).total_seconds()
        return None if cluster.deleted_at else max(due_in_s, 0.0)

    async def _act(self, turn: Turn) -> Cluster:
        """Decide again with the row locked: a fact may have come since we looked."""
        async with turn.transaction() as tx:
            cluster = await lock_cluster(tx, UUID(turn.key))
            assert cluster is not None, "clusters are never dropped"
            if (lifetime := _lifetime(cluster)) and lifetime.is_over(turn.now()):
                await self.desired.delete(tx, cluster, "its lifetime", "it ended")
            elif lifetime and lifetime.warns(turn.now()):
                await self.desired.warn_of_end(tx, cluster)
            elif self._announcement_due(cluster) <= turn.now():
                await self._announce_again(tx, cluster, turn.now())
        return cluster

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Saying again what was admitted cannot fail for good: if it does, that is a defect, and loud."""
        raise RuntimeError(f"announcing {turn.key} failed: {error.reason}") from error

    def _due(self, cluster: Cluster) -> datetime:
        lifetime = _lifetime(cluster)
        return min([self._announcement_due(cluster), *([lifetime.next_look()] if lifetime else [])])

    def _announcement_due(self, cluster: Cluster) -> datetime:
        silence = Silence(cluster.announced_at, cluster.heard_at, cluster.unanswered)
        return announce_at(silence, self.pauses, settled=cluster.phase in _SETTLED)

    async def _announce_again(self, tx: AsyncSession, cluster: Cluster, now: datetime) -> None:
        cluster.unanswered += 1
        await self.desired.announce(tx, cluster)
        await forget_removed(tx, cluster.id, now - timedelta(seconds=self.forget_nodes_s))
        log.info("announced again", cluster=str(cluster.id), announcement=cluster.announcement)


def _lifetime(cluster: Cluster) -> Lifetime | None:
    """When it ends by itself; None for one that does not, or is to be deleted already."""
    if cluster.expires_at is None or cluster.lifetime_said_at is None or cluster.deletion_asked_at:
        return None
    return Lifetime(cluster.lifetime_said_at, cluster.expires_at, cluster.expiry_told)
