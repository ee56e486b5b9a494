"""How requests reach an OpenStack: never too many, left alone when it asks for that, and counted. Blocking code.

The SDK's own rate limits do not work and its retries repeat a POST, so both are off and this is the one way out. What
is safe to repeat (GET, DELETE) is tried again a few times; anything else goes out once. A new token after a 401 is
keystoneauth's work: the refused request was not carried out.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from caravan_provisioner.metrics import CLOUD_WAIT_SECONDS, cloud_call

ASKS_FOR_PEACE = frozenset({413, 429, 503})  # 413 is what Nova and Swift said before 429 was known
_REPEATABLE = frozenset({"GET", "HEAD", "DELETE"})
_TROUBLE = frozenset({429, 500, 502, 503, 504})
_TRIES = 3
_PAUSE_S = 1.0  # before the first repetition where the cloud names no time; doubled for the next
_LONGEST_PEACE_S = 60.0  # a longer wait is the caller's: it comes again later and holds no thread meanwhile
_IDS = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=/os-keypairs/)[^/]+")


class Pace:
    """Bounds on the requests of one cloud, shared by all threads."""

    def __init__(
        self,
        *,
        per_s: float,
        in_flight: int,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap_s, self._in_flight = 1 / per_s, threading.BoundedSemaphore(in_flight)
        self._now, self._sleep = now, sleep
        self._turn = threading.Lock()
        self._next_at = 0.0

    def __enter__(self) -> None:
        self._in_flight.acquire()
        with self._turn:
            at = max(self._now(), self._next_at)
            self._next_at = at + self._gap_s
        self._sleep(max(0.0, at - self._now()))

    def __exit__(self, *_error: object) -> None:
        self._in_flight.release()

    def leave_alone(self, seconds: float) -> None:
        """Let nothing out for that long: the cloud asked for it."""
        with self._turn:
            self._next_at = max(self._next_at, self._now() + seconds)

    def pause(self, seconds: float) -> None:
        """Wait before a repetition."""
        self._sleep(seconds)


class PacedAdapter(HTTPAdapter):
    """The transport of all the cloud's endpoints. `calls` counts what was sent, by method and path without ids."""

    def __init__(self, cloud: str, pace: Pace, in_flight: int) -> None:
        super().__init__(pool_maxsize=in_flight, max_retries=0)
        self.calls: Counter[str] = Counter()
        self._cloud, self._pace = cloud, pace
        self._counting = threading.Lock()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """One request, repeated only where that does no harm."""
        tries = _TRIES if request.method in _REPEATABLE else 1
        pause_s = _PAUSE_S
        for left in reversed(range(tries)):
            try:
                response = self._send_once(request, *args, **kwargs)
            except requests.ConnectionError:
                if not left:
                    raise
                wait_s = pause_s
            else:
                wait_s = retry_after(response.headers, datetime.now(UTC)) or pause_s
                if response.status_code in ASKS_FOR_PEACE:
                    self._pace.leave_alone(min(wait_s, _LONGEST_PEACE_S))
                if response.status_code not in _TROUBLE or not left or wait_s > _LONGEST_PEACE_S:
                    return response
                response.close()
            self._pace.pause(wait_s)
            pause_s *= 2
        raise AssertionError("the last try returns or raises")

    def _send_once(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        method, path = str(request.method), path_of(str(request.url))
        with ExitStack() as turn:
            with CLOUD_WAIT_SECONDS.labels(self._cloud).time():
                turn.enter_context(self._pace)
            with self._counting:
                self.calls[f"{method} {path}"] += 1
            with cloud_call(self._cloud, method, path):
                return super().send(request, *args, **kwargs)


def path_of(url: str) -> str:
    """The path with `{id}` for every id, so that equal requests count as one kind."""
    return _IDS.sub("{id}", urlsplit(url).path)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110: seconds or a date); None without one, or one that says nothing."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None
