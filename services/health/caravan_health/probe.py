"""Ask a kube-apiserver how it is. The only file that knows TLS, certificates and timeouts.

Plain aiohttp, because one prober asks every cluster every few seconds: connections are kept alive, each cluster's
SSLContext is prepared once, URLs are built once. A cluster's addresses are dialled directly, with the endpoint's name
as TLS server name; the address that answered last is asked first, and when it stays silent all race for the rest of
the time. A virtual IP is asked beside them: it may be silent while all of them are well. Whatever happens becomes an
Observation; no exception leaves but cancellation.
"""

import asyncio
import os
import ssl
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import aiohttp
from yarl import URL

from caravan_health.classify import of_answer, of_error, of_refusal
from caravan_health.errors import CannotAsk, NotAKubeApiserver
from caravan_health.lists import Read, read_page
from caravan_health.nodes import NODES, read_node
from caravan_health.observation import Kind, NodeReading, Observation, PodReading
from caravan_health.pods import SYSTEM_PODS, read_pod
from caravan_health.target import Target
from caravan_shared.contracts.requests import ClientCertificate

_READYZ = "/readyz?verbose"
_READYZ_AT_MOST = 64 * 1024  # bytes; some 40 checks take 1.5 KB
_PAGE_AT_MOST = 64 * 1024 * 1024  # bytes a page of 500 real nodes or pods stays far below
_KEEP_ALIVE_S = 75  # longer than any pause between looks, shorter than common load balancers' idle limits
_FIRST_ADDRESS_SHARE = 1 / 3  # of the time, before the other addresses get their chance
_FROM_CACHE = "&resourceVersion=0"  # of the first page; a token that goes on takes none

R = TypeVar("R")


@dataclass(slots=True)
class Door:
    """A cluster's way in, prepared once per endpoint and certificate."""

    server_name: str
    context: ssl.SSLContext
    bases: list[URL]
    """One per address, the one that answered last in front."""
    virtual_ip: URL | None = None
    readyz: dict[URL, URL] = field(init=False)

    def __post_init__(self) -> None:
        every = [*self.bases, self.virtual_ip] if self.virtual_ip else self.bases
        self.readyz = {base: base.join(URL(_READYZ)) for base in every}


@dataclass(frozen=True, slots=True)
class Listed(Generic[R]):
    """One whole list; where `failure` is not None there is none."""

    readings: tuple[R, ...] = ()
    failure: Observation | None = None


def open_door(target: Target, certificate: ClientCertificate | None) -> Door:
    """Prepare to ask `target`; without a certificate only what it tells everyone can be asked.

    Raises CannotAsk, and OSError where this process may open no more files.
    """
    try:
        context = client_context(target.ca_certificate, certificate)
        bases = [_base(address, target.port) for address in target.dialled()]
        virtual_ip = _base(target.virtual_ip, target.port) if target.virtual_ip else None
    except (ssl.SSLError, ValueError) as error:
        raise CannotAsk(f"it cannot be asked: its address, CA or our certificate is malformed ({error})") from error
    return Door(target.host, context, bases, virtual_ip)


def _base(address: str, port: int) -> URL:
    return URL.build(scheme="https", host=address, port=port)


def client_context(ca_certificate: str, certificate: ClientCertificate | None) -> ssl.SSLContext:
    """Trust this CA (PEM) and no other; present the certificate, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_certificate)
    if certificate:
        present(context, certificate.cert, certificate.key)
    return context


def present(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Let `context` present this certificate (PEM). It takes paths only; pipes keep the key off disks."""
    ends = [_pipe_holding(pem) for pem in (cert, key)]
    try:
        context.load_cert_chain(*(f"/dev/fd/{end}" for end in ends))
    finally:
        for end in ends:
            os.close(end)


def _pipe_holding(text: str) -> int:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(text.encode())  # a pipe holds 64 KiB; certificate chains and keys are a few
    return reading


class Prober:
    """Asks. `async with` it; one serves all clusters. `reuse`: keep connections open from look to look."""

    def __init__(self, *, timeout_s: float, nodes_timeout_s: float, reuse: bool = True) -> None:
        self._timeout_s, self._nodes_timeout_s, self._reuse = timeout_s, nodes_timeout_s, reuse

    async def __aenter__(self) -> "Prober":
        self._session = aiohttp.ClientSession(
            connector=(
                aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
                if self._reuse
                else aiohttp.TCPConnector(limit=0, force_close=True)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # whole looks are limited instead, below
            headers={"User-Agent": "caravan-health"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ready(self, door: Door) -> Observation:
        """One look at /readyz, over as many addresses as it takes, within `timeout_s` in all."""
        if door.virtual_ip is None:
            return await self._ready(door)
        ends = asyncio.get_running_loop().time() + self._timeout_s
        seen, shared = await asyncio.gather(self._ready(door), self._try(door, door.virtual_ip, ends))
        if seen.kind is Kind.OK and shared.is_miss:
            return replace(seen, detail=f"nobody answers at its virtual IP {door.virtual_ip.host}: {shared.detail}")
        return seen

    async def _ready(self, door: Door) -> Observation:
        starts = asyncio.get_running_loop().time()
        ends = starts + self._timeout_s
        if len(door.bases) == 1:
            return await self._try(door, door.bases[0], ends)
        seen = await self._try(door, door.bases[0], starts + self._timeout_s * _FIRST_ADDRESS_SHARE)
        return await self._race(door, ends) or seen if seen.is_miss else seen

    async def nodes(self, door: Door) -> Listed[NodeReading]:
        """The nodes that the address in front lists, within `nodes_timeout_s` in all."""
        return await self._list(door, NODES, read_node)

    async def system_pods(self, door: Door) -> Listed[PodReading]:
        """The pods in `kube-system` that the address in front lists, within `nodes_timeout_s` in all."""
        return await self._list(door, SYSTEM_PODS, read_pod)

    async def _list(self, door: Door, page: str, read: Read[R]) -> Listed[R]:
        readings: list[R] = []
        path = page + _FROM_CACHE
        try:
            async with asyncio.timeout(self._nodes_timeout_s):
                while path:
                    status, body = await self._get(door, door.bases[0].join(URL(path)), _PAGE_AT_MOST)
                    if status != 200:
                        return Listed(failure=of_refusal(status))
                    found, onward = await read_page(body.decode(), read)
                    readings.extend(found)
                    path = f"{page}&continue={onward}" if onward else ""
        except Exception as error:
            return Listed(failure=of_error(error))
        return Listed(tuple(readings))

    async def _try(self, door: Door, base: URL, ends: float) -> Observation:
        try:
            async with asyncio.timeout_at(ends):
                return of_answer(*await self._get(door, door.readyz[base], _READYZ_AT_MOST))
        except Exception as error:
            return of_error(error)

    async def _race(self, door: Door, ends: float) -> Observation | None:
        """Ask all addresses side by side; the first that answers moves to the front. None: none did."""
        tries = {asyncio.create_task(self._try(door, base, ends)): base for base in door.bases}
        waiting = set(tries)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for answered in (task for task in done if not task.result().is_miss):
                    door.bases.remove(tries[answered])
                    door.bases.insert(0, tries[answered])
                    return answered.result()
        finally:
            for task in waiting:
                task.cancel()
        return None

    async def _get(self, door: Door, url: URL, at_most: int) -> tuple[int, bytes]:
        request = self._session.get(url, ssl=door.context, server_hostname=door.server_name, allow_redirects=False)
        async with request as response:
            return response.status, await _body(response, at_most)


async def _body(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    """The whole body; raises NotAKubeApiserver where it is longer than `at_most` bytes."""
    chunks, length = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        length += len(chunk)
        if length > at_most:
            raise NotAKubeApiserver("answers without end")
    return b"".join(chunks)
