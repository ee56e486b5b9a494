"""Reading Server-Sent Events."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import httpx
import pytest

from caravan_cli.errors import NotFound, Unavailable
from caravan_cli.sse import LONGEST_PAUSE_S, ServerEvent, follow, parse


def test_events_are_told_apart_by_empty_lines() -> None:
    lines = ["id: 7", "event: cluster", "data: one", "data: two", "", ": heartbeat", "", "data:three", ""]
    assert list(parse(lines)) == [ServerEvent("cluster", "one\ntwo", "7"), ServerEvent("message", "three", "7")]


def test_event_that_the_end_cuts_off_is_dropped() -> None:
    assert list(parse(["event: cluster", "data: half"])) == []


class _Streams:
    """Gives streams (texts) or errors one after the other; notes after which id each was asked for."""

    def __init__(self, *streams: str | Exception) -> None:
        self.asked_after: list[str | None] = []
        self._streams = list(streams)

    @contextmanager
    def __call__(self, last_id: str | None) -> Iterator[httpx.Response]:
        self.asked_after.append(last_id)
        stream = self._streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        yield httpx.Response(200, content=stream.encode())


def test_broken_stream_is_taken_up_after_the_last_event() -> None:
    streams = _Streams("id: 1\ndata: a\n\n", "", "id: 2\ndata: b\n\n")
    seen = list(islice(follow(streams, sleep=lambda _s: None), 5))
    assert [event.data if event else None for event in seen] == [None, "a", None, None, "b"]
    assert streams.asked_after == [None, "1", "1"]


def test_pauses_grow_while_nobody_answers_and_shrink_after_an_event() -> None:
    pauses: list[float] = []
    away = [Unavailable("away")] * 7
    streams = _Streams(*away, "data: a\n\n", httpx.ReadTimeout("silence"), "data: b\n\n")
    list(islice(follow(streams, sleep=pauses.append), 7 + 2 + 1 + 2))
    assert pauses[:6] == [0.25, 0.5, 1, 2, 4, LONGEST_PAUSE_S]
    assert pauses[7] == 0.25


def test_error_that_no_retry_mends_ends_the_reading() -> None:
    with pytest.raises(NotFound):
        list(follow(_Streams(NotFound("gone"))))
