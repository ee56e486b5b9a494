"""Ask an issuer for its keys. The only file that knows HTTP and TLS.

A session of its own each time: an issuer is asked every few minutes.
"""

import asyncio
import ssl
from pathlib import Path

import aiohttp

from caravan_api.oidc.keys import FetchFailed
from caravan_shared.contracts.oidc import LARGEST_DOCUMENT, metadata_url, read_metadata

_TIMEOUT_S = 5.0  # for both answers; a request to us waits for them


class FarEnd:
    """One issuer, by its address. `ca_file` (PEM) is trusted instead of the machine's authorities."""

    def __init__(self, issuer: str, ca_file: Path | None) -> None:
        self._issuer = issuer
        self._tls = ssl.create_default_context(cafile=ca_file)

    async def fetch(self) -> bytes:
        """Its JWK Set, found as OpenID Connect Discovery 1.0 (section 4) has it. Raises FetchFailed."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._session() as http:
                metadata = read_metadata(self._issuer, await _get(http, metadata_url(self._issuer)))
                return await _get(http, metadata.jwks_uri)
        except TimeoutError as error:
            raise FetchFailed(f"it does not answer within {_TIMEOUT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(str(error) or type(error).__name__) from error

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))


async def _get(http: aiohttp.ClientSession, url: str) -> bytes:
    # Wherever a redirect leads, the address that was checked to be https is not that one.
    async with http.get(url, headers={"Accept": "application/json"}, allow_redirects=False) as response:
        if response.status != 200:
            raise FetchFailed(f"{url} answers {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > LARGEST_DOCUMENT:
                raise FetchFailed(f"{url} answers without end")
        return bytes(body)
