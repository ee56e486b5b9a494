"""What an event may leave to do beside the probing: say facts again, put a cluster to sleep, forget a deleted one."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health.beliefs import put_to_sleep, say_again
from caravan_health.store import ClusterHealth, HealthHour, NodeHealth, Transition, Watched, WatchedNode
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

_KEPT_OF_A_CLUSTER: tuple[type[SQLModel], ...] = (WatchedNode, NodeHealth, ClusterHealth, Transition, HealthHour)


def reconciling(targets_changed: Callable[[], None]) -> Callable[[Turn], Awaitable[float | None]]:
    """The service's `reconcile`; `targets_changed` has the probing load its targets again soon."""

    async def reconcile(turn: Turn) -> float | None:
        targets_changed()
        async with turn.transaction() as tx:
            watched = await tx.get(Watched, UUID(turn.key))
            if watched and watched.deleted_at:
                await forget(tx, watched.cluster_id)
                return None
            if watched and watched.asleep:
                await put_to_sleep(tx, watched.cluster_id, turn.now())
            if watched and watched.announcement > watched.said_announcement:
                await say_again(tx, watched.cluster_id, turn.now())
                watched.said_announcement = watched.announcement
        return None

    return reconcile


async def forget(tx: AsyncSession, cluster_id: UUID) -> None:
    """Delete all that is kept of a cluster, but for its tombstone."""
    for table in _KEPT_OF_A_CLUSTER:
        await tx.exec(delete(table).where(col(table.cluster_id) == cluster_id))  # type: ignore[attr-defined]


async def give_up(turn: Turn, error: GiveUp) -> None:
    """Nothing here gives up: watching goes on whatever happens, and what happens is a verdict."""
    log.error("a turn gave up", cluster=turn.key, reason=error.reason)
