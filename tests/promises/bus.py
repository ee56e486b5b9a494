"""Publish what another service would, again if need be, and see whether anything still waits to be handled."""

from datetime import datetime
from uuid import uuid4

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.envelope import MESSAGE_ID
from tests.support.headers import headers_for


async def publish_copy(bus: Bus, event: Event, sequence: int, event_id: str, at: datetime) -> None:
    """Publish a copy of an event that JetStream does not know for one."""
    headers = headers_for(event, sequence, event_id=event_id, at=at)
    await bus.publish(event.subject, event.model_dump_json().encode(), {**headers, MESSAGE_ID: str(uuid4())})


async def nothing_waits(bus: Bus, stream: str) -> bool:
    """Everything in the stream is handled or put aside, by everybody who listens."""
    consumers = await bus.js.consumers_info(stream)
    return not any(consumer.num_pending or consumer.num_ack_pending for consumer in consumers)
