"""A process in trouble that nobody inside it can help: it gets little CPU, or stands still now and then.

By SIGSTOP and SIGCONT, which needs no rights and is the same on every machine; a cgroup's limit of 10 ms in each 100
would stop a busy process just so, and an idle one less often.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

_PERIOD_S = 0.1


@asynccontextmanager
async def starved(pid: int, share: float) -> AsyncIterator[None]:
    """It runs for this share of the time, in slices of a tenth of a second's share."""

    async def starve() -> None:
        while True:
            await _stand_still(pid, _PERIOD_S * (1 - share))
            await asyncio.sleep(_PERIOD_S * share)

    async with _during(pid, starve()):
        yield


@asynccontextmanager
async def stalled(pid: int, stall_s: float, every_s: float) -> AsyncIterator[None]:
    """It stands still for so long, at random, every so many seconds on average."""

    async def stall() -> None:
        while True:
            await asyncio.sleep(random.uniform(0, 2 * every_s))
            await _stand_still(pid, stall_s)

    async with _during(pid, stall()):
        yield


async def _stand_still(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _during(pid: int, trouble: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(trouble)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)
