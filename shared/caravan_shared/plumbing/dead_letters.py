"""The messages that no handler could take: list them, and put one back once its cause is mended."""

from dataclasses import dataclass
from datetime import datetime

import nats.errors
from nats.js.errors import NotFoundError

from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.envelope import MESSAGE_ID
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.streams import DEAD

_ADDED_BY_SERVER = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"})


@dataclass(frozen=True)
class DeadLetter:
    """One message that was put aside."""

    id: int
    """Its sequence in the dead-letter stream."""
    service: str
    """Whose handler could not take it."""
    subject: str
    reason: str
    tries: int
    at: datetime
    body: str
    headers: dict[str, str]


async def list_dead_letters(bus: Bus, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
    """Dead letters with an id above `after`, oldest first; raises `Retry` when NATS does not answer."""
    try:
        state = (await bus.js.stream_info(DEAD)).state
        letters: list[DeadLetter] = []
        sequence = max(after + 1, state.first_seq)
        while sequence <= state.last_seq and len(letters) < limit:
            letter = await _read(bus, sequence)
            if letter:
                letters.append(letter)
            sequence += 1
    except (nats.errors.Error, TimeoutError) as error:
        raise Retry(f"the dead letters cannot be read: {error or type(error).__name__}") from error
    return letters


async def replay(bus: Bus, letter_id: int, mended: str | None = None) -> DeadLetter | None:
    """Publish a dead letter on its old subject again and drop it; None if there is no such letter.

    `mended` goes in its body's place, where the body itself is what was wrong. It keeps its event id: services that
    handled it already ignore it.
    """
    letter = await _read(bus, letter_id)
    if letter is None:
        return None
    headers = {name: value for name, value in letter.headers.items() if not name.startswith("caravan-dead-")}
    headers[MESSAGE_ID] = f"replay:{letter_id}:{letter.at.timestamp()}"
    body = letter.body if mended is None else mended
    await bus.publish(letter.subject, body.encode("utf-8", "surrogateescape"), headers)
    await bus.js.delete_msg(DEAD, letter_id)
    return letter


async def _read(bus: Bus, sequence: int) -> DeadLetter | None:
    try:
        # Directly: the other way decodes headers as an email's, and loses what is not ASCII.
        message = await bus.js.get_msg(DEAD, sequence, direct=True)
    except NotFoundError:
        return None
    headers = {name: value for name, value in (message.headers or {}).items() if name not in _ADDED_BY_SERVER}
    return DeadLetter(
        id=sequence,
        service=headers.get("caravan-dead-service", ""),
        subject=headers.get("caravan-dead-subject", ""),
        reason=headers.get("caravan-dead-reason", ""),
        tries=int(headers.get("caravan-dead-tries", "1")),
        at=_time_of(message.time),
        body=(message.data or b"").decode("utf-8", "surrogateescape"),
        headers=headers,
    )


def _time_of(value: datetime | None) -> datetime:
    assert value is not None, "the server dates every stored message"
    return value
