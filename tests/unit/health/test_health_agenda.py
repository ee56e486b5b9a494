"""Who is due when."""

import asyncio
from uuid import UUID

import pytest

from caravan_health.agenda import Agenda

A, B = UUID(int=1), UUID(int=2)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_keys_come_when_due_with_the_time_they_were_due_at() -> None:
    agenda, start = Agenda(), now()
    agenda.put(A, start + 0.03)
    agenda.put(B, start)
    assert await agenda.due() == [(B, start)]
    assert await agenda.due() == [(A, start + 0.03)]
    assert now() >= start + 0.03


async def test_new_appointment_replaces_the_old() -> None:
    agenda, start = Agenda(), now()
    agenda.put(A, start)
    agenda.put(A, start + 0.02)
    assert await agenda.due() == [(A, start + 0.02)]


async def test_hurry_wakes_whoever_waits() -> None:
    agenda = Agenda()
    agenda.put(A, now() + 60)
    waiting = asyncio.create_task(agenda.due())
    await asyncio.sleep(0)
    agenda.hurry(A, now())
    assert [key for key, _ in await asyncio.wait_for(waiting, 1)] == [A]


async def test_hurry_does_not_appoint_who_has_no_appointment() -> None:
    agenda = Agenda()
    agenda.hurry(A, now())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agenda.due(), 0.02)


async def test_dropped_key_never_comes() -> None:
    agenda = Agenda()
    agenda.put(A, now())
    agenda.drop(A)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agenda.due(), 0.02)
