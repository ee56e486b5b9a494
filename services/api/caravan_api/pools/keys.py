"""What the reconciler's keys name: a cluster by its bare id, a pool and a pool's cluster by their kind and id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.pools.store import Pool, PoolCluster
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.reconciler import Turn

CLUSTER, POOL, SPARE = "", "pool", "spare"


def pool_key(pool_id: UUID) -> str:
    """The key of a pool."""
    return f"{POOL}/{pool_id}"


def spare_key(cluster_id: UUID) -> str:
    """The key of a cluster as one of a pool."""
    return f"{SPARE}/{cluster_id}"


def id_of(key: str) -> UUID:
    """The id that a key holds."""
    return UUID(key.rpartition("/")[2])


async def live_keys(session: AsyncSession) -> list[str]:
    """Every pool that is not wholly deleted, and every spare of one."""
    pools = await session.exec(select(Pool.id).where(col(Pool.deleted_at).is_(None)))
    is_spare = (col(PoolCluster.lease_id).is_(None), col(PoolCluster.leaving).is_(False))
    spares = await session.exec(select(PoolCluster.cluster_id).where(*is_spare))
    return [*map(pool_key, pools), *map(spare_key, spares)]


class Reconciles(Protocol):
    """Whoever brings the things of one kind to where they should be."""

    async def reconcile(self, turn: Turn) -> float | None:
        """Take one step; return the seconds until the next look."""

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Write down that no step helps."""


@dataclass(frozen=True, slots=True)
class ByKind:
    """Gives each turn to the reconciler of its key's kind."""

    kinds: Mapping[str, Reconciles]

    async def reconcile(self, turn: Turn) -> float | None:
        """See `Reconciles`."""
        return await self._of(turn).reconcile(turn)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """See `Reconciles`."""
        await self._of(turn).give_up(turn, error)

    def _of(self, turn: Turn) -> Reconciles:
        return self.kinds[turn.key.rpartition("/")[0]]
