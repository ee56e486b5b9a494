"""How an event looks on the wire: JSON body, CloudEvents 1.0 attributes as `ce-` headers (NATS binding, binary mode).

`ce-sequence` (CloudEvents' Sequence extension) counts a service's events; of two about the same thing the higher one
is newer. `Nats-Msg-Id` equals `ce-id`, so JetStream drops a doubled publish.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from nats.aio.msg import Msg

from caravan_shared.contracts.facts import Event

E = TypeVar("E", bound=Event)

EVENT_ID = "ce-id"
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
    """The headers of one event; `subject` is the one that its class names."""
    return {
        MESSAGE_ID: event_id,
        "ce-specversion": "1.0",
        EVENT_ID: event_id,
        "ce-source": f"/caravan/{source}",
        "ce-type": f"caravan.{subject}.v{schema_version}",
        "ce-time": at.isoformat(),
        "ce-sequence": f"{sequence:020d}",
        "content-type": "application/json",
        **({"ce-subject": about} if about else {}),
    }


def event_id(message: Msg) -> str:
    """The id its sender gave it, else where and when it was stored: one sequence may name another message later."""
    headers, stored = message.headers or {}, message.metadata
    given = headers.get(EVENT_ID) or headers.get(MESSAGE_ID)
    return given or f"{stored.stream}:{stored.sequence.stream}:{stored.timestamp.isoformat()}"


def heard(event: E, message: Msg) -> Heard[E]:
    """Put an event together with the headers of the JetStream message it came in."""
    headers = message.headers or {}
    return Heard(
        event=event,
        id=event_id(message),
        sequence=_number(headers.get("ce-sequence")),
        source=headers.get("ce-source", "").removeprefix("/caravan/"),
        at=_time(headers.get("ce-time"), message.metadata.timestamp),
        subject=message.subject,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _time(text: str | None, otherwise: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text) if text else otherwise
    except ValueError:
        at = otherwise
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
