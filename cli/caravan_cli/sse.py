"""Read Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html), across every break.

A stream ends for many reasons that mean nothing: a proxy's limit, an api that restarts. The reader opens it again with
`Last-Event-ID`, so that nothing is missed, and pauses longer each time that it gets nowhere.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx

from caravan_cli.errors import Unavailable

FIRST_PAUSE_S = 0.25  # a restarting api is back within a second or two
LONGEST_PAUSE_S = 5.0  # a person is watching


@dataclass(frozen=True)
class ServerEvent:
    """One event: its type, its data as text, and the id to resume after."""

    type: str
    data: str
    id: str | None


OpenStream = Callable[[str | None], AbstractContextManager[httpx.Response]]
"""Opens the stream after the event of this id; raises Unavailable where nobody answers."""


def parse(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events in a stream's lines. An event that the stream's end cuts off is dropped, as the standard asks."""
    event_type, data, last_id = "", list[str](), None
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(event_type or "message", "\n".join(data), last_id)
            event_type, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event_type = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value


def follow(open_stream: OpenStream, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[ServerEvent | None]:
    """Every event for ever, across reconnections.

    Yields None each time that the stream has been opened (again), and when opening failed: the moment to look at the
    whole state, and at the clock. Errors other than Unavailable end it.
    """
    last_id: str | None = None
    pause = FIRST_PAUSE_S
    while True:
        try:
            with open_stream(last_id) as response:
                yield None
                for event in parse(response.iter_lines()):
                    last_id, pause = event.id or last_id, FIRST_PAUSE_S
                    yield event
        except (httpx.TransportError, Unavailable):
            yield None
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)
