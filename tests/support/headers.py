"""The headers that a service of ours would publish an event with."""

from datetime import UTC, datetime
from uuid import uuid4

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.envelope import headers_of


def headers_for(
    event: Event, sequence: int, *, event_id: str | None = None, at: datetime | None = None
) -> dict[str, str]:
    """As from a service `test`; the event is a new one, told now, unless its id and moment are given."""
    return headers_of(
        event_id=event_id or str(uuid4()),
        sequence=sequence,
        source="test",
        subject=event.subject,
        about=str(getattr(event, "cluster_id", "")),
        schema_version=event.schema_version,
        at=at or datetime.now(UTC),
    )
