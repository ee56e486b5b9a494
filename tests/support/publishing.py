"""Publish events as another service of ours would."""

from datetime import UTC, datetime
from uuid import uuid4

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.envelope import MESSAGE_ID, headers_of


async def publish(
    bus: Bus,
    event: Event,
    sequence: int = 1,
    *,
    event_id: str | None = None,
    at: datetime | None = None,
    message_id: str | None = None,
) -> None:
    """As a service `test`; the event is a new one, told now, unless its id and moment are given.

    A `message_id` other than the event's id gets a double past JetStream.
    """
    headers = headers_of(
        event_id=event_id or str(uuid4()),
        sequence=sequence,
        source="test",
        subject=event.subject,
        about=str(getattr(event, "cluster_id", "")),
        schema_version=event.schema_version,
        at=at or datetime.now(UTC),
    )
    if message_id:
        headers[MESSAGE_ID] = message_id
    await bus.publish(event.subject, event.model_dump_json().encode(), headers)
