"""Write verdicts in batches: what changes within a moment is one transaction, what does not change is not written.

100 clusters that fall silent together are one commit, not 100. A change stays in memory until it is stored, so a store
that is away for a while delays it and loses nothing.
"""

import asyncio
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from caravan_health.beliefs import Change, beat_clusters, write
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_GATHER_S = 0.05  # adds this much to the detection time at most
_TRY_AGAIN_S = 1.0
_BEAT_EVERY_S = 60.0


class Recorder:
    """Takes changes at once, writes them soon."""

    def __init__(self, db: Database, clock: Clock, replica: str) -> None:
        self._db, self._clock, self._replica = db, clock, replica
        self._changes: dict[UUID, Change] = {}
        self._changed = asyncio.Event()

    def take(self, cluster_id: UUID, change: Change) -> None:
        """Have `change` written and said."""
        self._changes.setdefault(cluster_id, Change()).is_followed_by(change)
        self._changed.set()

    def drop(self, cluster_id: UUID) -> None:
        """Write nothing more about a cluster that is not ours any more."""
        self._changes.pop(cluster_id, None)

    async def run(self) -> None:
        """Write until cancelled, then once more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            try:
                while True:
                    await self._changed.wait()
                    await asyncio.sleep(_GATHER_S)
                    await self._flush()
            finally:
                await self._flush()

    async def _flush(self) -> None:
        self._changed.clear()
        changes, self._changes = self._changes, {}
        if not changes:
            return
        try:
            async with self._db.transaction() as tx:
                owned = await write(tx, changes, self._replica, self._clock.now())
        except (StoreAway, SQLAlchemyError) as error:
            log.error("verdicts not stored yet", clusters=len(changes), error=str(error))
            self._put_back(changes)
            await asyncio.sleep(_TRY_AGAIN_S)
            return
        if changes.keys() - owned:
            log.info("verdicts dropped: others watch these clusters now", clusters=len(changes.keys() - owned))

    def _put_back(self, changes: dict[UUID, Change]) -> None:
        for cluster_id, later in self._changes.items():
            changes.setdefault(cluster_id, Change()).is_followed_by(later)
        self._changes = changes
        self._changed.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_EVERY_S)
            try:
                async with self._db.transaction() as tx:
                    await beat_clusters(tx, self._replica, self._clock.now())
            except (StoreAway, SQLAlchemyError) as error:
                log.error("heartbeat of the verdicts not stored", error=str(error))
