"""Tell how far a run is for as long as it lasts, keep what it prints, and say that it is still driven.

Steps come faster than anybody reads them, so only the newest is told, now and then; a silent run beats.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from caravan_bootstrapper import logs, records
from caravan_shared.plumbing.away import once_back
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.waiting import is_set_within

BEAT_EVERY_S = 5.0
SILENT_FOR = 6 * timedelta(seconds=BEAT_EVERY_S)  # whoever drove it is gone: another replica's process
REPORT_EVERY_S = 0.5  # a step a play flies through is no news to anybody

OnStep = Callable[[str, int], None]
"""Called in the event loop with a step's name and number."""

OnPrint = Callable[[str], None]
"""Called in the event loop with what Ansible printed."""

log = get_logger(__name__)


class Told:
    """What a run said and what of it is not written down yet. Everything here is called in the event loop."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.step: tuple[str, int] | None = None
        self.output = ""
        self.start = 0
        """Where in the log `output` begins, in characters."""

    def reached(self, step: str, number: int) -> None:
        """The run came to another step."""
        self.step = step, number
        self.news.set()

    def printed(self, text: str) -> None:
        """Ansible printed this."""
        self.output += text
        self.news.set()

    def kept(self, step: tuple[str, int] | None, count: int) -> None:
        """That step is stored, and so many characters of `output`."""
        self.step = None if self.step == step else self.step
        self.output, self.start = self.output[count:], self.start + count


@asynccontextmanager
async def telling(db: Database, clock: Clock, run_id: UUID, log_chars: int) -> AsyncIterator[Told]:
    """Tell of the run what the block says of it. Leaving the block ends that at once: only its log is kept to the end,
    of which there are `log_chars` at most.
    """
    told = Told()
    work = asyncio.create_task(_tell(db, clock, run_id, told, log_chars))
    try:
        yield told
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await _keep_the_rest(db, run_id, told, log_chars)


async def _tell(db: Database, clock: Clock, run_id: UUID, told: Told, log_chars: int) -> None:
    while True:
        await is_set_within(told.news, BEAT_EVERY_S)
        told.news.clear()
        await once_back(lambda: _write(db, clock, run_id, told, log_chars), "how far a run is")
        await asyncio.sleep(REPORT_EVERY_S)


async def _write(db: Database, clock: Clock, run_id: UUID, told: Told, log_chars: int) -> None:
    step, output = told.step, told.output
    async with db.transaction() as tx:
        if step:
            await records.reached(tx, run_id, *step, clock.now())
        else:
            await records.beat(tx, run_id, clock.now())
        if output:
            await logs.keep(tx, run_id, told.start, output, log_chars)
    told.kept(step, len(output))


async def _keep_the_rest(db: Database, run_id: UUID, told: Told, log_chars: int) -> None:
    """How the run ended matters more than the end of its log: where that cannot be stored, our own log says so."""
    if not told.output:
        return
    try:
        async with db.transaction() as tx:
            await logs.keep(tx, run_id, told.start, told.output, log_chars)
    except Exception:
        log.exception("the end of a run's log could not be kept", run=str(run_id))
