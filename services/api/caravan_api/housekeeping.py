"""Tidy up now and then: Idempotency-Keys that no one will repeat, sessions that are over, what chats are done with,
what happened long ago. One replica does so for all.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from caravan_api.access.sessions import forget_sessions
from caravan_api.doors.chatops.conversation import forget_heard
from caravan_api.doors.chatops.replies import forget_replies
from caravan_api.idempotency import forget_keys
from caravan_api.notifications.deliver import forget_targets
from caravan_api.retention import Retention
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.rounds import Rounds

_EVERY_S = 3600.0
_TARGET_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Keeps the api's own tables small."""

    db: Database
    clock: Clock
    rounds: Rounds
    remember_keys_s: float
    remember_chat_s: float
    retention: Retention

    async def run(self) -> None:
        """Tidy up for ever."""
        while True:
            await self.tidy()
            await asyncio.sleep(_EVERY_S)

    async def tidy(self) -> None:
        """Tidy up once, unless another replica has."""
        if not await self.rounds.is_ours("housekeeping", _EVERY_S):
            return
        now = self.clock.now()
        async with self.db.transaction() as tx:
            await forget_keys(tx, now - timedelta(seconds=self.remember_keys_s))
            await forget_heard(tx, now - timedelta(seconds=self.remember_chat_s), now)
            await forget_replies(tx, now)
            await forget_sessions(tx, now)
            await forget_targets(tx, now - _TARGET_KEPT)
            await self.retention.forget(tx, now)
