"""Ask an issuer: for its keys, and for a token. The only file that knows HTTP and TLS.

A session of its own each time: an issuer is asked every few minutes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from caravan_api.oidc.keys import FetchFailed
from caravan_shared.contracts.oidc import LARGEST_DOCUMENT, ProviderMetadata, metadata_url, read_metadata

_JSON = {"Accept": "application/json"}
_TIMEOUT_S = 5.0  # for all answers to one question; a request to us waits for them


class FarEnd:
    """One issuer, by its address. `ca_file` (PEM) is trusted instead of the machine's authorities."""

    def __init__(self, issuer: str, ca_file: Path | None) -> None:
        self._issuer = issuer
        self._tls = ssl.create_default_context(cafile=ca_file)

    async def fetch(self) -> bytes:
        """Its JWK Set, found as OpenID Connect Discovery 1.0 (section 4) has it. Raises FetchFailed."""
        async with self._asking() as http:
            metadata = read_metadata(self._issuer, await _get(http, metadata_url(self._issuer)))
            return await _get(http, metadata.jwks_uri)

    async def metadata(self) -> ProviderMetadata:
        """What it says of itself. Raises FetchFailed."""
        async with self._asking() as http:
            return read_metadata(self._issuer, await _get(http, metadata_url(self._issuer)))

    async def redeem(self, grant: Mapping[str, str]) -> bytes:
        """What its token endpoint answers to a grant (RFC 6749, section 5.1). Raises FetchFailed, also for a no."""
        async with self._asking() as http:
            metadata = read_metadata(self._issuer, await _get(http, metadata_url(self._issuer)))
            if metadata.token_endpoint is None:
                raise FetchFailed("it has no token endpoint")
            return await _post(http, metadata.token_endpoint, grant)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[aiohttp.ClientSession]:
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._session() as http:
                yield http
        except TimeoutError as error:
            raise FetchFailed(f"it does not answer within {_TIMEOUT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(str(error) or type(error).__name__) from error

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))


async def _get(http: aiohttp.ClientSession, url: str) -> bytes:
    # Wherever a redirect leads, the address that was checked to be https is not that one.
    async with http.get(url, headers=_JSON, allow_redirects=False) as response:
        return await _body(url, response)


async def _post(http: aiohttp.ClientSession, url: str, form: Mapping[str, str]) -> bytes:
    async with http.post(url, data=form, headers=_JSON, allow_redirects=False) as response:
        return await _body(url, response)


async def _body(url: str, response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise FetchFailed(f"{url} answers {response.status}")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_DOCUMENT:
            raise FetchFailed(f"{url} answers without end")
    return bytes(body)
