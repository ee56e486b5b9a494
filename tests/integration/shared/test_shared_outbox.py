"""What is said is heard: after the commit and only then, whatever happens to the broker or to us on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import select

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.outbox import Relay, say
from caravan_shared.plumbing.streams import FACTS, MAX_EVENT_BYTES
from caravan_shared.plumbing.tables import OUTBOX
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.service import Example, done, note

Named = Callable[..., Example]


@pytest.fixture
def named(tmp_path: Path, nats_server: NatsServer) -> Named:
    """Services by name, each with a store of its own."""

    def make(name: str, **settings: Any) -> Example:
        example = Example(tmp_path / name, nats_server.url, name=name, **settings)
        example.service.hears(BootstrapDone, note)
        return example

    return make


async def say_numbers(example: Example, *numbers: int) -> None:
    async with example.service.db.transaction() as tx:
        await say(tx, *(done(number) for number in numbers))


async def until_heard(example: Example, numbers: list[int]) -> None:
    async def all_there() -> bool:
        return len(await example.numbers()) >= len(numbers)

    await eventually(all_there, saying=f"{len(numbers)} events heard")
    assert sorted(await example.numbers()) == sorted(numbers)


async def test_event_is_published_after_its_transaction_and_only_then(named: Named, outsider: Bus) -> None:
    sniffer = await outsider.client.subscribe(BootstrapDone.subject)
    async with named("speaker").running() as speaker:
        async with speaker.service.db.transaction() as tx:
            await say(tx, done(1))
            await asyncio.sleep(0.2)
            assert sniffer.pending_msgs == 0
        await until_heard(speaker, [1])
    await sniffer.unsubscribe()


async def test_event_of_a_transaction_that_failed_is_never_published(named: Named) -> None:
    async def fail(speaker: Example) -> None:
        async with speaker.service.db.transaction() as tx:
            await say(tx, done(1))
            raise ZeroDivisionError

    async with named("speaker").running() as speaker:
        with pytest.raises(ZeroDivisionError):
            await fail(speaker)
        await say_numbers(speaker, 2)
        await until_heard(speaker, [2])


async def test_events_carry_cloudevents_attributes_and_a_rising_sequence(
    named: Named, outsider: Bus, database_url: str
) -> None:
    sniffer = await outsider.client.subscribe(BootstrapDone.subject)
    async with named("speaker", database_url=database_url).running() as speaker:
        event = done(1)
        async with speaker.service.db.transaction() as tx:
            await say(tx, event, done(2))
        messages = [await sniffer.next_msg(timeout=5) for _ in range(2)]
    await sniffer.unsubscribe()
    headers = [message.headers or {} for message in messages]
    assert headers[0]["ce-sequence"] < headers[1]["ce-sequence"]
    assert headers[0]["Nats-Msg-Id"] == headers[0]["ce-id"] != headers[1]["ce-id"]
    assert headers[0]["ce-subject"] == str(event.cluster_id)
    assert headers[0]["ce-source"] == "/caravan/speaker"
    assert headers[0]["ce-type"] == "caravan.bootstrap.done.v1"
    at = datetime.fromisoformat(headers[0]["ce-time"])
    assert at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - at < timedelta(seconds=30)


async def test_more_events_than_a_batch_are_all_published_once(named: Named) -> None:
    async with named("speaker").running() as speaker:
        await say_numbers(speaker, *range(250))
        await until_heard(speaker, list(range(250)))
        stored = (await speaker.service.bus.js.stream_info(FACTS)).state.messages
    assert stored == 250


async def test_nothing_said_while_nats_is_down_is_lost(named: Named, nats_server: NatsServer) -> None:
    async with named("speaker").running() as speaker:
        nats_server.stop()
        await eventually(lambda: not speaker.service.bus.connected)
        await say_numbers(speaker, 1, 2, 3)
        nats_server.start()
        await until_heard(speaker, [1, 2, 3])


async def test_broker_that_lost_its_store_gets_all_again_and_handlers_see_it_once(
    named: Named, nats_server: NatsServer, database_url: str
) -> None:
    async with named("speaker", database_url=database_url).running() as speaker:
        await say_numbers(speaker, *range(10))
        await until_heard(speaker, list(range(10)))
        nats_server.wipe()
        await say_numbers(speaker, *range(10, 20))
        await until_heard(speaker, list(range(20)))
        async with named("newcomer").running() as newcomer:
            await until_heard(newcomer, list(range(20)))
        await asyncio.sleep(0.3)
        assert sorted(await speaker.numbers()) == list(range(20))


async def test_events_lost_with_the_broker_before_anybody_heard_them_are_heard(
    named: Named, nats_server: NatsServer
) -> None:
    listener = named("listener")
    async with named("speaker").running() as speaker:
        await say_numbers(speaker, *range(5))
        await eventually(lambda: _stored(speaker.service.bus, 5))
        nats_server.wipe()
        async with listener.running():
            await until_heard(listener, list(range(5)))


async def _stored(bus: Bus, count: int) -> bool:
    return (await bus.js.stream_info(FACTS)).state.messages >= count


async def test_event_too_large_for_the_bus_is_refused_at_once(named: Named) -> None:
    vast = BootstrapDone(cluster_id=uuid4(), generation=1, nodes=1, version="1" * MAX_EVENT_BYTES)

    async def say_it(speaker: Example) -> None:
        async with speaker.service.db.transaction() as tx:
            await say(tx, vast)

    async with named("speaker").running() as speaker:
        with pytest.raises(ValueError, match=r"bootstrap\.done has"):
            await say_it(speaker)


# --- the relay by itself ---


@asynccontextmanager
async def relaying(db: Database, bus: Bus) -> AsyncIterator[None]:
    task = asyncio.create_task(Relay(db, bus, "speaker", SystemClock()).run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def rows(db: Database) -> list[tuple[str, str | None]]:
    async with db.reading() as session:
        return [
            (event_id, epoch)
            for event_id, epoch in await session.exec(select(OUTBOX.c.event_id, OUTBOX.c.stream_epoch))
        ]


async def test_relay_killed_before_it_noted_an_event_publishes_it_again_under_the_same_id(
    db: Database, outsider: Bus, named: Named
) -> None:
    sniffer = await outsider.client.subscribe(BootstrapDone.subject)
    async with db.transaction() as tx:
        await say(tx, done(1))
    async with relaying(db, outsider):
        first = await sniffer.next_msg(timeout=5)
        await eventually(lambda: _stored(outsider, 1))
    [(event_id, epoch)] = await rows(db)
    assert epoch is None
    async with relaying(db, outsider):
        second = await sniffer.next_msg(timeout=5)
        await eventually(lambda: _noted(db))
    await sniffer.unsubscribe()
    assert (first.headers or {})["Nats-Msg-Id"] == (second.headers or {})["Nats-Msg-Id"] == event_id
    assert (await outsider.js.stream_info(FACTS)).state.messages == 1
    async with named("listener").running() as listener:
        await until_heard(listener, [1])


async def _noted(db: Database) -> bool:
    return all(epoch for _, epoch in await rows(db))


async def test_published_events_are_kept_as_long_as_the_stream_keeps_them(db: Database, outsider: Bus) -> None:
    async with db.transaction() as tx:
        await say(tx, done(1))
    async with relaying(db, outsider):
        await eventually(lambda: _noted(db))
    clock = ManualClock(datetime.now(UTC) + timedelta(hours=23))
    relay = Relay(db, outsider, "speaker", clock)
    await relay.prune()
    assert len(await rows(db)) == 1
    clock.advance(2 * 3600)
    await relay.prune()
    assert await rows(db) == []


async def test_unpublished_events_are_kept_however_old(db: Database, outsider: Bus) -> None:
    async with db.transaction() as tx:
        await say(tx, done(1))
    await Relay(db, outsider, "speaker", ManualClock(datetime.now(UTC) + timedelta(days=30))).prune()
    assert len(await rows(db)) == 1
