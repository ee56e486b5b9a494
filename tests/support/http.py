"""Ask a service over HTTP."""

import aiohttp

from tests.support.service import Example

_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def get(example: Example, path: str) -> tuple[int, str]:
    """Status and body."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http, http.get(f"{example.url}{path}") as response:
        return response.status, await response.text()
