"""What becomes of a delivered message, against a real nats-server: handled, put off, or put aside for people to see."""

import asyncio
import itertools
import time
from collections import defaultdict
from pathlib import Path

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.dead_letters import DeadLetter, list_dead_letters, replay
from caravan_shared.plumbing.delivery import Patience
from caravan_shared.plumbing.envelope import Heard
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.streams import FACTS
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.service import Example, done, note, tell

SUBJECT = BootstrapDone.subject


class Moody:
    """A handler that raises what it is told to for a number, and remembers when it was tried."""

    def __init__(self) -> None:
        self.errors: dict[int, list[Exception]] = {}
        self.tries: dict[int, list[float]] = defaultdict(list)

    async def __call__(self, heard: Heard[BootstrapDone], tx: AsyncSession) -> None:
        number = heard.event.nodes
        self.tries[number].append(time.monotonic())
        await note(heard, tx)
        if left := self.errors.get(number):
            raise left.pop(0)

    def gaps(self, number: int) -> list[float]:
        times = self.tries[number]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def service(tmp_path: Path, nats_server: NatsServer, moody: Moody) -> Example:
    example = Example(tmp_path, nats_server.url, patience=Patience(tries=3, first_delay_s=0.2))
    example.service.hears(BootstrapDone, moody)
    return example


async def letters(example: Example, count: int) -> list[DeadLetter]:
    async def look() -> list[DeadLetter] | None:
        found = await list_dead_letters(example.service.bus, limit=2 * count + 2)
        return found if len(found) >= count else None

    return await eventually(look, within=30, saying=f"{count} dead letters")


async def test_retry_is_delivered_again_after_the_delay_it_names(service: Example, moody: Moody) -> None:
    moody.errors[1] = [Retry("not yet", after=0.5)]
    async with service.running():
        await tell(service.service.bus, done(1))
        await eventually(service.numbers)
    assert moody.gaps(1)[0] >= 0.5
    assert moody.gaps(1)[0] < 2.0


async def test_retry_never_becomes_a_dead_letter(service: Example, moody: Moody) -> None:
    moody.errors[1] = [Retry("not yet", after=0.05) for _ in range(5)]
    async with service.running():
        await tell(service.service.bus, done(1))
        assert await eventually(service.numbers) == [1]
        assert not await list_dead_letters(service.service.bus)


async def test_give_up_is_a_dead_letter_at_once_and_leaves_nothing_behind(service: Example, moody: Moody) -> None:
    moody.errors[1] = [GiveUp("no such team – ask for one", who_can_fix=WhoCanFix.OPERATOR)]
    async with service.running():
        await tell(service.service.bus, done(1))
        [letter] = await letters(service, 1)
        assert await service.numbers() == []
    assert (letter.reason, letter.tries) == ("no such team – ask for one", 1)
    assert (letter.service, letter.subject) == ("example", SUBJECT)


async def test_unexpected_error_is_tried_again_with_growing_delays_then_put_aside(
    service: Example, moody: Moody
) -> None:
    moody.errors[1] = [ValueError("a defect"), ValueError("a defect"), ValueError("a defect")]
    async with service.running():
        await tell(service.service.bus, done(1))
        [letter] = await letters(service, 1)
    first, second = moody.gaps(1)
    assert first >= 0.15  # 0.2 s and twice that, each with up to a quarter of jitter
    assert second >= 0.3
    assert (letter.reason, letter.tries) == ("a defect", 3)


async def test_unexpected_error_that_passes_is_forgotten(service: Example, moody: Moody) -> None:
    moody.errors[1] = [ValueError("a hiccup")]
    async with service.running():
        await tell(service.service.bus, done(1))
        assert await eventually(service.numbers) == [1]


async def test_replayed_letter_is_handled_once_its_cause_is_mended(service: Example, moody: Moody) -> None:
    moody.errors[1] = [GiveUp("not now", who_can_fix=WhoCanFix.OPERATOR)]
    async with service.running():
        await tell(service.service.bus, done(1), event_id="the-event")
        [letter] = await letters(service, 1)
        assert await replay(service.service.bus, letter.id) == letter
        [row] = await eventually(service.noted)
        assert row.event_id == "the-event"
        assert await list_dead_letters(service.service.bus) == []
        assert await replay(service.service.bus, letter.id) is None


async def test_replay_keeps_the_identity_of_a_message_without_cloudevents_headers(
    service: Example, moody: Moody
) -> None:
    moody.errors[1] = [GiveUp("not now", who_can_fix=WhoCanFix.OPERATOR)]
    async with service.running():
        bus = service.service.bus
        await bus.publish(SUBJECT, done(1).model_dump_json().encode(), {"Nats-Msg-Id": "build-4711"})
        [letter] = await letters(service, 1)
        await replay(bus, letter.id)
        [row] = await eventually(service.noted)
    assert row.event_id == "build-4711"


async def test_poison_is_put_aside_at_once_and_can_be_listed_and_replayed(service: Example) -> None:
    poison = {
        "no JSON": b"{not json",
        "no UTF-8": b'{"cluster_id": "\xff\xfe"}',
        "another shape": b'{"something": "else"}',
        "no object": b'"text"',
        "empty": b"",
        "wrong type": done(1).model_dump_json().encode().replace(b'"generation":1', b'"generation":"many"'),
    }
    async with service.running():
        bus = service.service.bus
        for body in poison.values():
            await bus.publish(SUBJECT, body, {})
        await tell(bus, done(7))
        listed = await letters(service, len(poison))
        assert await eventually(service.numbers) == [7]
        bodies = [letter.body.encode("utf-8", "surrogateescape") for letter in listed]
        assert sorted(bodies) == sorted(poison.values())
        assert all(letter.reason and letter.tries == 1 for letter in listed)
        await replay(bus, listed[0].id)
        again = await eventually(lambda: _after(bus, listed[-1].id))
        assert again[0].body == listed[0].body


async def _after(bus: Bus, letter_id: int) -> list[DeadLetter]:
    return await list_dead_letters(bus, after=letter_id)


async def test_poison_of_the_largest_size_is_put_aside_too(service: Example) -> None:
    async with service.running():
        bus = service.service.bus
        largest = (await bus.js.stream_info(FACTS)).config.max_msg_size
        assert largest
        await bus.publish(SUBJECT, b"x" * (largest - 100), {})
        [letter] = await letters(service, 1)
    assert len(letter.body) == largest - 100


async def test_poison_is_put_aside_whatever_its_sender_wished_of_jetstream(service: Example) -> None:
    wishes = {"Nats-Expected-Last-Subject-Sequence": "0", "a(b": "no name that could be sent on", "colour": "blue"}
    async with service.running():
        bus = service.service.bus
        lines = "".join(f"{name}: {value}\r\n" for name, value in wishes.items())
        await _publish_raw(bus, SUBJECT, f"NATS/1.0\r\n{lines}\r\n".encode(), b"poison")
        [letter] = await letters(service, 1)
    assert letter.body == "poison"
    assert letter.headers["colour"] == "blue"
    assert not set(letter.headers) & set(wishes) - {"colour"}


async def _publish_raw(bus: Bus, subject: str, headers: bytes, body: bytes) -> None:
    """Publish what our own client would refuse to send."""
    command = f"HPUB {subject} {len(headers)} {len(headers) + len(body)}\r\n".encode()
    await bus.client._send_command(command + headers + body + b"\r\n")
    await bus.client.flush()


async def test_good_messages_flow_while_others_are_put_off_or_poison(service: Example, moody: Moody) -> None:
    moody.errors.update({number: [Retry("later", after=60)] * 9 for number in range(0, 100, 10)})
    async with service.running():
        bus = service.service.bus
        for number in range(100):
            await tell(bus, done(number))
            if number % 10 == 5:
                await bus.publish(SUBJECT, b"{", {})
        await letters(service, 10)
        await eventually(lambda: _count(service, 90))
        assert sorted(await service.numbers()) == [number for number in range(100) if number % 10]


async def _count(example: Example, count: int) -> bool:
    return len(await example.numbers()) >= count


async def test_all_poison_among_a_thousand_is_listed_and_all_good_handled_exactly_once(service: Example) -> None:
    async with service.running():
        bus = service.service.bus
        started = time.monotonic()
        await asyncio.gather(
            *(
                bus.publish(SUBJECT, f"poison {number}".encode(), {}) if number % 10 == 0 else tell(bus, done(number))
                for number in range(1000)
            )
        )
        listed = await letters(service, 100)
        assert time.monotonic() - started < 60
        await eventually(lambda: _count(service, 900), within=30)
        numbers = await service.numbers()
    assert sorted(letter.body for letter in listed) == sorted(f"poison {number}" for number in range(0, 1000, 10))
    assert sorted(numbers) == [number for number in range(1000) if number % 10]


async def test_message_cannot_make_the_service_publish_elsewhere(service: Example, outsider: Bus) -> None:
    sniffer = await outsider.client.subscribe("elsewhere")
    async with service.running():
        headers = {"reply_to": "elsewhere"}
        await outsider.publish(SUBJECT, done(1).model_dump_json().encode(), headers)
        await outsider.publish(SUBJECT, b"poison", headers)
        await letters(service, 1)
        await eventually(service.numbers)
        await outsider.client.flush()
        sniffed = sniffer.pending_msgs
    await sniffer.unsubscribe()
    assert sniffed == 0


async def test_double_with_another_message_id_is_handled_once(service: Example, moody: Moody) -> None:
    event = done(1)
    async with service.running():
        for number in range(5):
            await tell(service.service.bus, event, event_id="one", message_id=f"copy-{number}")
        await tell(service.service.bus, done(2))
        await eventually(lambda: _count(service, 2))
        assert await service.numbers() == [1, 2]
    assert len(moody.tries[1]) == 1
