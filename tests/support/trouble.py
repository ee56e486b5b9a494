"""A process in trouble that nobody inside it can help: it gets little CPU, or stands still now and then.

By SIGSTOP and SIGCONT, which needs no rights and is the same on every machine; a cgroup's limit of 10 ms in each 100
would stop a busy process just so, and an idle one less often. From a thread, which is in time where a loop is busy.
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_PERIOD_S = 0.1


@asynccontextmanager
async def starved(pid: int, share: float) -> AsyncIterator[None]:
    """It runs for this share of the time, in slices of a tenth of a second's share; a longer slice, a longer wait."""

    def starve() -> None:
        began = time.monotonic()
        time.sleep(_PERIOD_S * share)
        _stand_still(pid, (time.monotonic() - began) * (1 / share - 1))

    async with _during(starve):
        yield


@asynccontextmanager
async def stalled(pid: int, stall_s: float, every_s: float) -> AsyncIterator[None]:
    """It stands still for so long, at random, every so many seconds on average."""
    next_at = time.monotonic()

    def stall() -> None:
        nonlocal next_at
        if time.monotonic() < next_at:
            time.sleep(_PERIOD_S)
            return
        _stand_still(pid, stall_s)
        next_at = time.monotonic() + random.uniform(0, 2 * every_s)

    async with _during(stall):
        yield


def _stand_still(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _during(trouble: Callable[[], None]) -> AsyncIterator[None]:
    """Make trouble again and again; no process stands still afterwards."""
    ended = threading.Event()

    def make() -> None:
        while not ended.is_set():
            trouble()

    making = asyncio.create_task(asyncio.to_thread(make))
    try:
        yield
    finally:
        ended.set()
        await asyncio.gather(making, return_exceptions=True)
