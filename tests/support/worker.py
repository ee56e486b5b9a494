"""A worker as a process of its own, which may be stopped, continued and killed.

It works on one key without a pause, in turns of several writes; each write notes its epoch and who wrote. What it tried
to write too late it prints as a line `stale`.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.errors import GiveUp, StaleLease
from caravan_shared.plumbing.log import configure_logging
from caravan_shared.plumbing.reconciler import Reconciler, Turn
from tests.support.service import Noted, open_store

KEY = "key"
_WRITES_A_TURN = 4
_LONGEST_STEP_S = 0.1


@dataclass
class Worker:
    """The process, as seen by whoever started it."""

    name: str
    process: asyncio.subprocess.Process
    out: Path

    def pause(self) -> None:
        """Stop it wherever it is."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on as if no time had passed."""
        self.process.send_signal(signal.SIGCONT)

    def came_too_late(self) -> int:
        """How many of its writes were refused."""
        return self.out.read_text().count("stale\n")


@asynccontextmanager
async def worker(folder: Path, url: str, name: str, lease_s: float) -> AsyncIterator[Worker]:
    """Run a worker on a store that has its tables; killed at the end."""
    out = folder / f"{name}.out"
    with out.open("wb") as stdout, (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.worker", url, name, str(lease_s)), stdout=stdout, stderr=log
        )
    try:
        yield Worker(name, process, out)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def _work(turn: Turn, name: str) -> float:
    for _ in range(_WRITES_A_TURN):
        await asyncio.sleep(random.uniform(0, _LONGEST_STEP_S))
        try:
            async with turn.transaction() as tx:
                tx.add(Noted(event_id=name, cluster_id=turn.key, number=turn.epoch, at=datetime.now(UTC)))
        except StaleLease:
            os.write(sys.stdout.fileno(), b"stale\n")
            raise
    return 0.0


async def _run(url: str, name: str, lease_s: float) -> None:
    async def look(turn: Turn) -> float:
        return await _work(turn, name)

    async def give_up(turn: Turn, error: GiveUp) -> None:
        raise AssertionError(turn.key) from error

    async def live(_session: AsyncSession) -> list[str]:
        return [KEY]

    async with open_store(url) as db:
        reconciler = Reconciler(
            db,
            SystemClock(),
            look,
            give_up,
            live,
            instance=name,
            workers=1,
            lease_s=lease_s,
            resync_every_s=1,
        )
        await reconciler.run()


if __name__ == "__main__":
    configure_logging("worker", "INFO", "text")
    asyncio.run(_run(sys.argv[1], sys.argv[2], float(sys.argv[3])))
