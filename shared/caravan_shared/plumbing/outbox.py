"""What happened is written together with the event that tells of it; a relay publishes it afterwards.

The relay notes what it published a moment later, many rows in one write: a crash in between only publishes them again.
A published event stays in the outbox as long as the stream would keep it. A row remembers in which life (epoch) of the
stream it was stored: when the broker loses its store, the rows of the old life are published again under their old ids,
and receivers that had them already ignore them. So the broker's store is never the only copy of anything.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge
from sqlalchemy import Row, delete, insert, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.facts import Event, kind_of
from caravan_shared.plumbing import traces, tracing
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.envelope import headers_of
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.streams import KEPT_FOR_S, MAX_EVENT_BYTES
from caravan_shared.plumbing.tables import OUTBOX
from caravan_shared.plumbing.tracing import Carrier
from caravan_shared.plumbing.waiting import is_set_within

_BATCH = 200  # events in flight to the server at once
_LARGEST_BODY = MAX_EVENT_BYTES - 4096  # leaves room for the headers
_LOOK_AGAIN_S = 5.0  # for rows another replica left behind
_NOTE_AFTER_S = 0.5  # quiet time before published rows are noted as such

_PUBLISHED = Counter("caravan_events_published_total", "Events stored by the bus.", ["subject"])
_UNSENT = Gauge("caravan_outbox_unsent", "Events written but not yet stored by the bus, up to a batch of 200.")
_OLDEST = Gauge("caravan_outbox_oldest_seconds", "For how long the oldest of them has waited; 0: none waits.")

_SAYING = insert(OUTBOX)

log = get_logger(__name__)


async def say(tx: AsyncSession, *events: Event) -> None:
    """Write events into the outbox within `tx`; they are published after it commits, and only then."""
    if not events:
        return
    tracing.busy()
    carrier_of = await _traces(tx, events, datetime.now(UTC))
    await say_each(tx, [(event, carrier_of(event)) for event in events])


async def say_each(tx: AsyncSession, said: Sequence[tuple[Event, Carrier]]) -> None:
    """The same for events of several requests, each with the trace that it belongs to."""
    if not said:
        return
    now = datetime.now(UTC)
    rows = [
        {
            "event_id": str(uuid4()),
            "subject": event.published_on(),
            "body": _body(event),
            "about": _about(event),
            "schema_version": event.schema_version,
            "said_at": now,
            "traceparent": trace.get(tracing.TRACEPARENT),
            "tracestate": trace.get(tracing.TRACESTATE),
        }
        for event, trace in said
    ]
    await tx.exec(_SAYING, params=rows)
    tx.info["said"] = True


async def _traces(tx: AsyncSession, events: Sequence[Event], now: datetime) -> Callable[[Event], Carrier]:
    """Which trace each event belongs to: the present one; what is said outside of any, to its cluster's."""
    if not tracing.is_on():
        return lambda _event: {}
    if present := tracing.current():
        return lambda _event: present
    found = await traces.of(tx, {_about(event) for event in events}, now)
    return lambda event: found.get(_about(event), {})


def _about(event: Event) -> str:
    """The id of the cluster that it is about, or empty."""
    return str(getattr(event, "cluster_id", ""))


def _body(event: Event) -> bytes:
    body = event.model_dump_json().encode()
    if len(body) > _LARGEST_BODY:
        raise ValueError(f"{event.subject} has {len(body)} bytes, the bus takes {_LARGEST_BODY}: tell it in parts")
    return body


class Relay:
    """Publishes what the outbox holds, oldest first, until cancelled."""

    def __init__(self, db: Database, bus: Bus, service: str, clock: Clock) -> None:
        self._db, self._bus, self._service, self._clock = db, bus, service, clock
        self._wanted = asyncio.Event()
        self._published: dict[int, str] = {}
        """Rows that the bus stored, with the epoch it did so in, not yet noted in the outbox."""
        self.unsent_for_s = 0.0
        """For how long the oldest event waits that the bus has not stored, as of the last look."""
        db.after_say = self._wanted.set
        bus.after_new_epoch = self._wanted.set

    async def run(self) -> None:
        """Publish whatever waits; then sleep until something is said, or look again after a while."""
        next_prune = self._clock.now()
        while True:
            self._wanted.clear()
            while await self._publish_batch() == _BATCH:
                pass
            if not await is_set_within(self._wanted, _NOTE_AFTER_S):
                await self._note_published()
                await is_set_within(self._wanted, _LOOK_AGAIN_S)
            if self._clock.now() >= next_prune:
                await self.prune()
                next_prune = self._clock.now() + timedelta(hours=1)

    async def _publish_batch(self) -> int:
        epoch = self._bus.epoch
        if len(self._published) >= _BATCH:
            await self._note_published()
        async with self._db.reading() as session:
            waiting = (await session.exec(_waiting(epoch, _BATCH + len(self._published)))).all()
        rows = [row for row in waiting if self._published.get(row.id) != epoch][:_BATCH]
        _UNSENT.set(len(rows))
        self.unsent_for_s = (self._clock.now() - rows[0].said_at).total_seconds() if rows else 0.0
        _OLDEST.set(self.unsent_for_s)
        if not rows:
            return 0
        stored = await asyncio.gather(*(self._publish(row) for row in rows))
        self._published.update({row.id: epoch for row, ok in zip(rows, stored, strict=True) if ok})
        if not all(stored):
            await asyncio.sleep(1.0)
        return len(rows)

    async def _publish(self, row: "Row[tuple[int, ...]]") -> bool:
        subject = kind_of(row.subject)
        headers = headers_of(
            event_id=row.event_id,
            sequence=row.id,
            source=self._service,
            subject=subject,
            about=row.about,
            schema_version=row.schema_version,
            at=row.said_at,
        )
        try:
            with tracing.continuing(f"publish {subject}", _carrier(row), SpanKind.PRODUCER, _attributes(row)):
                await self._bus.publish(row.subject, row.body, headers | tracing.current())
        except Retry as error:
            log.warning("event not stored yet", event_id=row.event_id, subject=row.subject, reason=error.reason)
            return False
        _PUBLISHED.labels(subject).inc()
        return True

    async def _note_published(self) -> None:
        if not self._published:
            return
        published, self._published = self._published, {}
        async with self._db.transaction() as tx:
            for epoch in set(published.values()):
                ids = [row_id for row_id, stored_in in published.items() if stored_in == epoch]
                await tx.exec(update(OUTBOX).where(OUTBOX.c.id.in_(ids)).values(stream_epoch=epoch))

    async def prune(self) -> None:
        """Forget what the stream has had and would by now have dropped itself."""
        oldest = self._clock.now() - timedelta(seconds=KEPT_FOR_S)
        async with self._db.transaction() as tx:
            await tx.exec(delete(OUTBOX).where(OUTBOX.c.said_at < oldest, OUTBOX.c.stream_epoch.is_not(None)))


def _carrier(row: "Row[tuple[int, ...]]") -> dict[str, str]:
    """The trace that the event was said in: the relay itself may be another process, a day later."""
    if row.traceparent is None:
        return {}
    return {tracing.TRACEPARENT: row.traceparent, tracing.TRACESTATE: row.tracestate}


def _attributes(row: "Row[tuple[int, ...]]") -> dict[str, str]:
    return {
        "messaging.system": "nats",
        "messaging.destination.name": row.subject,
        "messaging.message.id": row.event_id,
        "caravan.about": row.about,
    }


def _waiting(epoch: str, most: int):  # type: ignore[no-untyped-def]  # SQLAlchemy's Select of a Core table has no useful type
    # Not `!=`: no database looks that up in an index, and a day's events would be read to find one.
    other_life = or_(OUTBOX.c.stream_epoch.is_(None), OUTBOX.c.stream_epoch < epoch, OUTBOX.c.stream_epoch > epoch)
    return select(OUTBOX).where(other_life).order_by(OUTBOX.c.id).limit(most)
