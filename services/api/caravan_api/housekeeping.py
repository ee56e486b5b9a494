"""Tidy up now and then: Idempotency-Keys that no one will repeat."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from caravan_api.idempotency import forget_keys
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Keeps the api's own tables small."""

    db: Database
    clock: Clock
    remember_keys_s: float

    async def run(self) -> None:
        """Tidy up for ever."""
        while True:
            async with self.db.transaction() as tx:
                await forget_keys(tx, self.clock.now() - timedelta(seconds=self.remember_keys_s))
            await asyncio.sleep(_EVERY_S)
