"""Count the silent nodes on each cloud over all clusters: what no single cluster can see.

Asked by clusters that have a silent node themselves, and answered to all of them from one query: while all is well it
costs nothing, and while much is not, one query in two seconds.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from caravan_provisioner import store
from caravan_provisioner.breaker import storm_sentence
from caravan_provisioner.limits import Limits
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_FRESH_S = 2.0  # seconds; what many clusters in one storm ask within them is one question
_OF_REPAIR = 10  # a count is never older than such a part of the time after which nodes are repaired


class Fleet:
    """The nodes of all clusters."""

    def __init__(self, db: Database, clock: Clock, limits: Limits) -> None:
        self._db, self._clock, self._limits = db, clock, limits
        self._fresh = timedelta(seconds=min(_FRESH_S, limits.repair_after_s / _OF_REPAIR))
        self._one_reader = asyncio.Lock()
        self._storms: Mapping[str, str] = {}
        self._counted_at: datetime | None = None

    async def storms(self) -> Mapping[str, str]:
        """The clouds on which nothing is repaired now, each with the sentence that says why."""
        async with self._one_reader:
            now = self._clock.now()
            if self._counted_at is None or now >= self._counted_at + self._fresh:
                async with self._db.reading() as session:
                    counts = await store.count_silent(session)
                said = {cloud: storm_sentence(cloud, silent, of, self._limits) for cloud, silent, of in counts}
                self._storms = {cloud: sentence for cloud, sentence in said.items() if sentence}
                self._counted_at = now
            return self._storms
