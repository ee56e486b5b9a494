"""Work that comes round by the clock and that one replica does for all: a sweep, a tidying.

Whoever comes first when a round is due has it, and keeps the others from it until the next one is; as a rule it is the
same replica again. One that died is replaced by the first to come when its last round is over, so a round comes late by
one at most. The round is a lease (`leases`): nothing else is needed to agree.
"""

from datetime import timedelta

from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.leases import acquire, new_holder

_KEY = "round/"
"""Apart from what the reconciler's keys stand for."""


class Rounds:
    """The rounds of one replica."""

    def __init__(self, db: Database, clock: Clock, instance: str) -> None:
        self._db, self._clock = db, clock
        self._holder = new_holder(instance)

    async def is_ours(self, work: str, every_s: float) -> bool:
        """Whether this replica does the work of this name now; then no other does within `every_s` seconds."""
        async with self._db.transaction() as tx:
            lease = await acquire(tx, _KEY + work, self._holder, self._clock.now(), timedelta(seconds=every_s))
        return lease is not None
