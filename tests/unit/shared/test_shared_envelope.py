"""Events on the wire: CloudEvents attributes as headers, and sensible values where a sender left them out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from nats.aio.msg import Msg

from caravan_shared.contracts.events import EndpointWithdrawn
from caravan_shared.plumbing.envelope import Heard, headers_of, heard

EVENT = EndpointWithdrawn.model_validate(EndpointWithdrawn.example)
STORED_AT = datetime.fromtimestamp(1_800_000_000, UTC)


class _NoClient:
    """A message wants to know its client; these never answer."""


def receive(
    headers: dict[str, str] | None, *, sequence: int = 42, at: datetime = STORED_AT
) -> Heard[EndpointWithdrawn]:
    """The event as it comes from JetStream with these headers."""
    nanoseconds = int(at.timestamp()) * 10**9
    reply = f"$JS.ACK.FACTS.example.1.{sequence}.7.{nanoseconds}.0"
    return heard(EVENT, Msg(_NoClient(), subject=EVENT.subject, reply=reply, headers=headers))  # type: ignore[arg-type]


def test_what_was_sent_is_heard() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    headers = headers_of(
        event_id="an-id", sequence=17, source="dns", subject=EVENT.subject, about="c", schema_version=1, at=at
    )
    message = receive(headers)
    assert (message.event, message.id, message.sequence, message.source) == (EVENT, "an-id", 17, "dns")
    assert message.at == at
    assert message.subject == EVENT.subject
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == "an-id"
    assert headers["ce-type"] == "caravan.endpoint.withdrawn.v1"
    assert headers["ce-specversion"] == "1.0"


def test_sequences_sort_as_text_too() -> None:
    texts = [
        headers_of(event_id="", sequence=number, source="", subject="", about="", schema_version=1, at=STORED_AT)
        for number in (9, 10, 123456)
    ]
    assert [text["ce-sequence"] for text in texts] == sorted(text["ce-sequence"] for text in texts)


def test_message_id_stands_in_for_an_event_id() -> None:
    assert receive({"Nats-Msg-Id": "build-4711"}).id == "build-4711"


def test_message_without_any_id_is_known_by_where_and_when_it_was_stored() -> None:
    assert receive(None).id == receive({}).id
    assert receive(None).id != receive(None, sequence=43).id
    assert receive(None).id != receive(None, at=STORED_AT + timedelta(hours=1)).id, "another life of the stream"


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1e3", "٣"])
def test_nonsense_in_headers_does_not_stop_a_message(text: str) -> None:
    message = receive({"ce-sequence": text, "ce-time": text})
    assert message.at == STORED_AT
    assert message.sequence in (0, 3)


def test_time_without_a_zone_is_taken_as_utc() -> None:
    assert receive({"ce-time": "2026-01-01T00:00:00"}).at == datetime(2026, 1, 1, tzinfo=UTC)
