"""Ask a service over HTTP."""

import aiohttp
import httpx

from caravan_cli.up.processes import Process
from tests.support.service import Example

_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def get(example: Example, path: str) -> tuple[int, str]:
    """Status and body."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http, http.get(f"{example.url}{path}") as response:
        return response.status, await response.text()


async def answers(http: aiohttp.ClientSession, path: str, running: Process) -> bool:
    """Whether a server that was just started answers by now; fails with its log where it has ended."""
    assert running.ended() is None, f"it exited with {running.ended()}; {running.log.read_text()}"
    try:
        async with http.get(path) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


class OfTheKilled(httpx.AsyncHTTPTransport):
    """To servers that tests kill: a connection that is cut the moment it opens is an `httpx.ConnectError` there too.

    On uvloop anyio asks such a connection for its peer, and says AttributeError, as the socket is gone.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            raise httpx.ConnectError(str(error), request=request) from error
