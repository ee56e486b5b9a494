"""Tell how far a run is for as long as it lasts, and that it is still driven.

Steps come faster than anybody reads them, so only the newest is told, now and then; a silent run beats.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from caravan_bootstrapper import records
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

BEAT_EVERY_S = 5.0
SILENT_FOR = 6 * timedelta(seconds=BEAT_EVERY_S)  # whoever drove it is gone: another replica's process
REPORT_EVERY_S = 0.5  # a step a play flies through is no news to anybody

OnStep = Callable[[str, int], None]
"""Called in the event loop with a step's name and number."""

_Steps = asyncio.Queue[tuple[str, int]]


@asynccontextmanager
async def telling(db: Database, clock: Clock, run_id: UUID) -> AsyncIterator[OnStep]:
    """Tell of the run what the block says of it; leaving the block ends that at once, told or not."""
    steps: _Steps = asyncio.Queue()
    work = asyncio.create_task(_tell(db, clock, run_id, steps))
    try:
        yield lambda step, number: steps.put_nowait((step, number))
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _tell(db: Database, clock: Clock, run_id: UUID, steps: _Steps) -> None:
    while True:
        try:
            async with asyncio.timeout(BEAT_EVERY_S):
                step, number = await steps.get()
        except TimeoutError:
            async with db.transaction() as tx:
                await records.beat(tx, run_id, clock.now())
            continue
        while not steps.empty():
            step, number = steps.get_nowait()
        async with db.transaction() as tx:
            await records.reached(tx, run_id, step, number, clock.now())
        await asyncio.sleep(REPORT_EVERY_S)
