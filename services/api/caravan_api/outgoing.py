"""Send messages to chat products, to the hosts that the operator named and nowhere else.

URLs come from requests and from team owners: without the list either could have the api call whatever it reaches
(SSRF). Redirects are not followed, for the same reason. An URL of this kind is a secret: it stands in no reason.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp

from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.sealing import CannotOpen, KeyRing

TIMEOUT_S = 10.0
_LONGEST_ANSWER = 80  # characters of what was answered, for the reason: Slack answers `no_service`
_HTTPS = 443
_WORTH_A_RETRY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class Undelivered(Exception):
    """A message was not taken. `after_s`: what the other side asked to wait; `for_good`: trying again is no use."""

    def __init__(self, reason: str, *, after_s: float | None = None, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.after_s, self.for_good = reason, after_s, for_good


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Posts JSON to URLs of `hosts`, each `host` or `host:port`."""

    hosts: Sequence[str]
    clock: Clock

    def problem(self, url: str) -> str | None:
        """Why nothing is sent to that URL; None where it may be."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "it is no URL"
        host = parts.hostname or ""
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
            return "it does not begin with https://"
        if parts.username or parts.password:
            return "it names a user"
        if not self._lists(host, port or _HTTPS):
            return f"its host is none of {', '.join(self.hosts)}"
        return None

    async def post_sealed(self, keys: KeyRing, sealed: str, context: str, body: Any) -> None:
        """Post it to an URL that was sealed for a context. Raises `Undelivered`, also where the URL does not open."""
        try:
            url = keys.open(sealed, context)
        except CannotOpen as error:
            raise Undelivered(error.reason, for_good=True) from error
        await self.post(url, body)

    async def post(self, url: str, body: Any) -> None:
        """Post it. Raises `Undelivered`."""
        if problem := self.problem(url):
            raise Undelivered(f"nothing is sent to this URL: {problem}", for_good=True)
        host = urlsplit(url).hostname
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(url, json=body, allow_redirects=False) as response,
            ):
                said = _told(await response.content.read(_LONGEST_ANSWER))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Undelivered(f"{host} did not answer: {type(error).__name__}") from None
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            wait_s = self._retry_after_s(response.headers.get("Retry-After"))
            hopeless = response.status < HTTPStatus.INTERNAL_SERVER_ERROR and response.status not in _WORTH_A_RETRY
            raise Undelivered(f"{host} answered {response.status}{said}", after_s=wait_s, for_good=hopeless)

    def _lists(self, host: str, port: int) -> bool:
        listed = {_with_port(entry) for entry in self.hosts}
        return (host, port) in listed

    def _retry_after_s(self, text: str | None) -> float | None:
        """RFC 9110, section 10.2.3: seconds, or a date."""
        if not text:
            return None
        if text.isascii() and text.isdecimal():
            return float(text[:9])
        try:
            return max((parsedate_to_datetime(text) - self.clock.now()).total_seconds(), 0.0)
        except (ValueError, TypeError):
            return None


def _with_port(entry: str) -> tuple[str, int]:
    parts = SplitResult("https", entry, "", "", "")
    return parts.hostname or "", parts.port or _HTTPS


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _told(body: bytes) -> str:
    text = "".join(each for each in body.decode("ascii", "ignore") if each.isprintable())
    return f": {text}" if text else ""
