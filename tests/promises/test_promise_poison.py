"""Poison is visible: what no handler can take is listed with its reason, and what is good goes on beside it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.dead_letters import DeadLetter, list_dead_letters
from tests.promises.sizes import POISON_AMONG_GOOD, POISON_NESTED_DEEP
from tests.promises.spoiling import nested_deep, spoilt
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.service import Example, done, note, tell

ONE_IN = 11
AT_ONCE = 100
LISTED_WITHIN_S = 60.0
AT_ONCE_S = 10.0
"""What is no defect of ours that could pass is listed without a second try."""


@pytest.mark.promises(POISON_AMONG_GOOD)
async def test_every_bad_message_is_listed_within_a_minute_and_every_good_one_takes_effect_once(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    example = Example(tmp_path, nats_server.url)
    example.service.hears(BootstrapDone, note)
    bad: dict[bytes, datetime] = {}
    good: dict[int, datetime] = {}
    async with example.running():
        bus = example.service.bus
        for start in range(0, trial.asked, AT_ONCE):
            sending = []
            for number in range(start, min(start + AT_ONCE, trial.asked)):
                now = datetime.now(UTC)
                if number % ONE_IN:
                    good[number] = now
                    sending.append(tell(bus, done(number)))
                else:
                    body = _poison(trial, number)
                    bad[body] = now
                    sending.append(bus.publish(BootstrapDone.subject, body, {}))
            await asyncio.gather(*sending)
            trial.did(len(sending))
        noted = await eventually(lambda: _noted(example, len(good)), within=LISTED_WITHIN_S, every=0.5)
        letters = await eventually(lambda: _letters(bus, len(bad)), within=LISTED_WITHIN_S, every=0.5)
        assert len(await example.numbers()) == len(good), "a good one took effect twice"
    assert sorted(noted) == sorted(good)
    bodies = {letter.body.encode("utf-8", "surrogateescape"): letter for letter in letters}
    assert set(bodies) == set(bad), "what is listed is what was bad"
    assert all(letter.reason and letter.service == "example" for letter in letters)
    listed_after = [(letter.at - bad[body]).total_seconds() for body, letter in bodies.items()]
    noted_after = [(at - good[number]).total_seconds() for number, at in noted.items()]
    trial.figures |= {
        "poison": len(bad),
        "listed after at most s": max(listed_after),
        "good after at most s": max(noted_after),
    }
    assert max(listed_after) < LISTED_WITHIN_S
    assert max(noted_after) < LISTED_WITHIN_S


@pytest.mark.promises(POISON_NESTED_DEEP)
async def test_a_message_nested_too_deep_to_be_read_is_listed_at_once(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    example = Example(tmp_path, nats_server.url, log_level="CRITICAL")
    example.service.hears(BootstrapDone, note)
    async with example.running():
        body = nested_deep(json.loads(done().model_dump_json()))
        await example.service.bus.publish(BootstrapDone.subject, body, {})
        await asyncio.sleep(AT_ONCE_S)
        letters = await list_dead_letters(example.service.bus)
    assert letters, "it is not listed"
    trial.did()


def _poison(trial: Trial, number: int) -> bytes:
    """A message that is like no other and that nobody can take."""
    body = json.loads(done(number).model_dump_json())
    return spoilt(trial.dice, body, f"poison {number}")


async def _noted(example: Example, count: int) -> dict[int, datetime] | None:
    rows = await example.noted()
    return {row.number: row.at for row in rows} if len(rows) >= count else None


async def _letters(bus: Bus, count: int) -> list[DeadLetter] | None:
    found = await list_dead_letters(bus, limit=2 * count)
    return found if len(found) >= count else None
