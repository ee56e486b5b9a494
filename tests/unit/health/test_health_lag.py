"""How late the event loop runs: stalls, long ones and many short ones."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from caravan_health.lag import LoopLag

MAX_LAG_S = 0.2


@pytest.fixture
async def lag() -> AsyncIterator[LoopLag]:
    ticking = LoopLag(MAX_LAG_S)
    task = asyncio.create_task(ticking.run())
    await asyncio.sleep(0)
    yield ticking
    task.cancel()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_loop_that_runs_on_time_is_in_no_trouble(lag: LoopLag) -> None:
    started = now()
    await asyncio.sleep(0.3)
    assert not lag.ran_late(started, now())


async def test_stall_is_told_to_whoever_runs_first_after_it(lag: LoopLag) -> None:
    started = now()
    time.sleep(0.4)
    assert lag.ran_late(started, now())


async def _in_short_stalls(stall_s: float, pause_s: float) -> None:
    """Ten of them."""
    for _ in range(10):
        time.sleep(stall_s)
        await asyncio.sleep(pause_s)


async def test_short_stalls_that_take_half_of_the_time_together_are_told(lag: LoopLag) -> None:
    started = now()
    await _in_short_stalls(stall_s=0.14, pause_s=0)
    assert lag.ran_late(started, now())


async def test_loop_that_is_somewhat_late_all_the_time_is_in_no_trouble(lag: LoopLag) -> None:
    started = now()
    await _in_short_stalls(stall_s=0.02, pause_s=0.06)
    assert not lag.ran_late(started, now())


async def test_what_was_lost_before_matters_to_no_later_look(lag: LoopLag) -> None:
    time.sleep(0.3)
    await asyncio.sleep(0.1)
    assert not lag.ran_late(now(), now())
