"""Which trace the work on a key belongs to: kept in the store, so that whoever comes later goes on in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sqlalchemy import select

from caravan_shared.plumbing import traces, tracing
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.tables import OUTBOX
from tests.support.service import done

THEN = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = "a" * 32, "c" * 32


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracing.start_with(InMemorySpanExporter(), "example", "one")
    yield
    tracing.stop()


async def _hear(db: Database, trace_id: str, began_at: datetime, parent: str = "b" * 16) -> None:
    carrier = {
        "traceparent": f"00-{trace_id}-{parent}-01",
        "tracestate": f"caravan={int(began_at.timestamp() * 1000)}",
    }
    with tracing.continuing("process", carrier, SpanKind.CONSUMER, {}):
        async with db.transaction() as tx:
            await traces.keep(tx, "key")


async def _of(db: Database, now: datetime = THEN) -> str | None:
    async with db.reading() as session:
        found = await traces.of(session, ["key", "another"], now)
    return tracing.trace_id_of(found["key"]) if found else None


async def test_newer_request_wins_in_whatever_order_they_are_heard(db: Database) -> None:
    await _hear(db, OLD, THEN)
    assert await _of(db) == OLD
    await _hear(db, NEW, THEN + timedelta(seconds=5))
    await _hear(db, OLD, THEN)
    assert await _of(db) == NEW


async def test_work_hangs_below_what_was_heard_first_of_its_trace(db: Database) -> None:
    await _hear(db, OLD, THEN)
    async with db.reading() as session:
        first = await traces.of(session, ["key"], THEN)
    await _hear(db, OLD, THEN + timedelta(seconds=5))
    async with db.reading() as session:
        assert await traces.of(session, ["key"], THEN) == first


async def test_trace_is_continued_for_a_while_and_its_id_shown_for_longer(db: Database) -> None:
    await _hear(db, OLD, THEN)
    assert await _of(db, now=THEN + traces.CONTINUED_FOR) is None
    async with db.transaction() as tx:
        assert await traces.ids_of(tx, ["key", "another"]) == {"key": OLD}
        await traces.prune(tx, THEN + traces.KEPT_FOR + timedelta(seconds=1))
        assert await traces.ids_of(tx, ["key"]) == {}


async def test_event_said_outside_of_any_trace_belongs_to_that_of_its_cluster(db: Database) -> None:
    event, other = done(), done()
    with tracing.door("POST /", {}, {}):
        trace_id = tracing.trace_id()
        async with db.transaction() as tx:
            await traces.keep(tx, str(event.cluster_id))
    async with db.transaction() as tx:
        await say(tx, event, other)
    async with db.reading() as session:
        rows = (await (await session.connection()).execute(select(OUTBOX))).all()
    carried = {row.about: row.traceparent for row in rows}
    assert carried[str(event.cluster_id)].split("-")[1] == trace_id
    assert carried[str(other.cluster_id)] is None


async def test_nothing_is_kept_outside_of_a_trace(db: Database) -> None:
    async with db.transaction() as tx:
        await traces.keep(tx, "key")
    assert await _of(db) is None
