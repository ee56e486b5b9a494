"""How late the event loop runs: stalls, long ones and many short ones."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from caravan_health.lag import LoopLag

MAX_LAG_S = 0.1


@pytest.fixture
async def lag() -> AsyncIterator[LoopLag]:
    ticking = LoopLag(MAX_LAG_S)
    task = asyncio.create_task(ticking.run())
    await asyncio.sleep(0)
    yield ticking
    task.cancel()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_loop_that_runs_on_time_loses_nothing(lag: LoopLag) -> None:
    started = now()
    await asyncio.sleep(0.3)
    assert lag.lost_since(started, now()) == 0


async def test_stall_is_told_to_whoever_runs_first_after_it(lag: LoopLag) -> None:
    started = now()
    time.sleep(0.3)
    assert lag.lost_since(started, now()) > MAX_LAG_S


async def test_stalls_too_short_to_matter_alone_are_added_up(lag: LoopLag) -> None:
    started = now()
    for _ in range(6):
        time.sleep(0.09)
        await asyncio.sleep(0)
    assert lag.lost_since(started, now()) > MAX_LAG_S


async def test_what_was_lost_before_matters_to_no_later_look(lag: LoopLag) -> None:
    time.sleep(0.3)
    await asyncio.sleep(0.1)
    assert lag.lost_since(now(), now()) == 0
