"""Whoever waits for an event ends when cancelled, at whatever moment that is."""

import asyncio

import pytest

from caravan_shared.plumbing.waiting import is_set_within


async def test_tells_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await is_set_within(event, 0.01)
    event.set()
    assert await is_set_within(event, 5)
    assert await is_set_within(event, None)


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancellation_just_after_the_event_ends_the_loop(ticks: int) -> None:
    event = asyncio.Event()

    async def loop() -> None:
        while True:
            await is_set_within(event, 30)
            event.clear()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=2)
    assert done
