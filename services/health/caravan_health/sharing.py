"""Which clusters this replica follows: beat, see who else is alive, take up and let go. `shares` decides; this acts.

Targets are read from the store by version, because the event about a cluster may have been handled by another replica.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health.beliefs import claim, nodes_believed
from caravan_health.shares import live, share_of
from caravan_health.store import Replica, targets, versions
from caravan_health.watch import Watch
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, upsert
from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.waiting import is_set_within

log = get_logger(__name__)

LOOK_AGAIN_S = 2.0
"""Seconds between heartbeats, and between looks at those of others."""
_AT_ONCE = 200  # clusters loaded in one transaction
_APART_S = 0.01  # a first look costs a TLS handshake, some milliseconds


class Sharing:
    """Keeps the watch following this replica's share."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        watch: Watch,
        let_go: Callable[[UUID], None],
        live_now: Callable[[tuple[str, ...]], None],
        *,
        replica: str,
        silent_after_s: float,
        spread_s: float,
    ) -> None:
        self._db, self._clock, self._watch, self._let_go, self._live_now = db, clock, watch, let_go, live_now
        self._replica, self._silent_after_s, self._spread_s = replica, silent_after_s, spread_s
        self._targets_changed = asyncio.Event()

    def targets_changed(self) -> None:
        """Look at the targets soon, not only at the next beat."""
        self._targets_changed.set()

    async def run(self) -> None:
        """Keep the share until cancelled; then leave, so that the others take over at once."""
        try:
            while True:
                self._targets_changed.clear()
                try:
                    await self._adjust()
                except (StoreAway, SQLAlchemyError) as error:
                    log.error("the store does not answer; following the same clusters as before", error=str(error))
                await is_set_within(self._targets_changed, LOOK_AGAIN_S)
        finally:
            await self._leave()

    async def _adjust(self) -> None:
        async with self._db.transaction() as tx:
            await _beat(tx, self._replica, self._clock)
            beats = (await tx.exec(select(Replica.name, Replica.beat_at))).all()
            watchable = await versions(tx)
        replicas = live(beats, self._clock.now(), self._silent_after_s)
        self._live_now(replicas)
        mine = share_of(self._replica, watchable, replicas)
        following = self._watch.following()
        for cluster_id in following.keys() - mine:
            self._watch.drop(cluster_id)
            self._let_go(cluster_id)
        await self._take_up([cluster_id for cluster_id in mine if cluster_id not in following])
        await self._update([key for key in mine & following.keys() if following[key] != watchable[key]])

    async def _take_up(self, cluster_ids: list[UUID]) -> None:
        for start in range(0, len(cluster_ids), _AT_ONCE):
            batch = cluster_ids[start : start + _AT_ONCE]
            async with self._db.transaction() as tx:
                found = await targets(tx, batch)
                ids = [target.cluster_id for target in found]
                beliefs = await claim(tx, ids, self._replica, self._clock.now())
                nodes = await nodes_believed(tx, ids)
            for target in found:
                first_look_in_s = self._first_look_in_s(len(cluster_ids))
                self._watch.follow(target, beliefs[target.cluster_id], nodes[target.cluster_id], first_look_in_s)

    async def _update(self, cluster_ids: list[UUID]) -> None:
        for start in range(0, len(cluster_ids), _AT_ONCE):
            async with self._db.reading() as session:
                found = await targets(session, cluster_ids[start : start + _AT_ONCE])
            for target in found:
                self._watch.retarget(target)

    def _first_look_in_s(self, newcomers: int) -> float:
        """Many at once are spread over one round, so that they stay spread; a few are looked at now."""
        return random.uniform(0, min(self._spread_s, newcomers * _APART_S))  # noqa: S311 (spreads load)

    async def _leave(self) -> None:
        async with self._db.transaction() as tx:
            await tx.exec(delete(Replica).where(col(Replica.name) == self._replica))


async def _beat(tx: AsyncSession, replica: str, clock: Clock) -> None:
    row: Mapping[str, object] = {"name": replica, "beat_at": clock.now()}
    await upsert(tx, Replica, [row], key=("name",), update=("beat_at",))
