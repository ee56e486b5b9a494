"""How an event looks on the wire: JSON body, CloudEvents 1.0 attributes as `ce-` headers (NATS binding, binary mode).

`ce-sequence` (CloudEvents' Sequence extension) counts a service's events; of two about the same thing the higher one
is newer. `Nats-Msg-Id` equals `ce-id`, so JetStream drops a doubled publish.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from caravan_shared.contracts.facts import Event

E = TypeVar("E", bound=Event)

MESSAGE_ID = "Nats-Msg-Id"


@dataclass(frozen=True)
class Heard(Generic[E]):
    """An event as a handler gets it."""

    event: E
    id: str
    """Unique; the same event delivered twice has the same one."""
    sequence: int
    """Rises with every event of `source`; 0 where the sender does not count."""
    source: str
    """The service that said it, or whoever else published it."""
    at: datetime
    subject: str
    """The NATS subject it came on; the server has checked that its sender may use it."""


def headers_of(
    *, event_id: str, sequence: int, source: str, subject: str, about: str, schema_version: int, at: datetime
) -> dict[str, str]:
    """The headers of one event."""
    return {
        MESSAGE_ID: event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": f"/caravan/{source}",
        "ce-type": f"caravan.{subject}.v{schema_version}",
        "ce-time": at.isoformat(),
        "ce-sequence": f"{sequence:020d}",
        "content-type": "application/json",
        **({"ce-subject": about} if about else {}),
    }


def heard(event: E, headers: Mapping[str, str], *, subject: str, stored_as: str, stored_at: datetime) -> Heard[E]:
    """Put a received event together with its headers; `stored_as` identifies it where a sender gave no id."""
    return Heard(
        event=event,
        id=headers.get("ce-id") or headers.get(MESSAGE_ID) or stored_as,
        sequence=_number(headers.get("ce-sequence")),
        source=headers.get("ce-source", "").removeprefix("/caravan/"),
        at=_time(headers.get("ce-time"), stored_at),
        subject=subject,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _time(text: str | None, otherwise: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text) if text else otherwise
    except ValueError:
        at = otherwise
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
