"""A kube-apiserver of our own on loopback, asked with the same code as the clusters: if even that one misses, it is us.

Each look opens a fresh connection, so that it also fails when file descriptors run out.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from caravan_health.observation import Kind, Observation
from caravan_health.probe import Prober, open_door, present
from caravan_health.target import Target

_NAME = "canary.caravan.internal"
_EVERY_S = 1.0
_STALE_AFTER_S = 3.0  # looks take a few milliseconds; three missing ones are no chance
_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\nreadyz check passed\n"


class Canary:
    """Asks itself every second, and remembers how that went."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_ok = float("-inf")
        self._last = Observation(Kind.MONITOR_UNFIT, "has not been asked yet")

    async def run(self) -> None:
        """Serve and ask until cancelled."""
        loop = asyncio.get_running_loop()
        async with (
            _serving() as door_target,
            Prober(timeout_s=self._timeout_s, nodes_timeout_s=0, reuse=False) as prober,
        ):
            door = open_door(door_target, None)
            while True:
                started = loop.time()
                self._last = await prober.ready(door)
                if self._last.kind is Kind.OK:
                    self._last_ok = started
                await asyncio.sleep(_EVERY_S)

    def trouble(self, now: float) -> str:
        """Why the monitor cannot reach even itself; empty if it can. `now`: the loop's time."""
        if self._last.kind is not Kind.OK:
            return f"its canary {self._last.detail}"
        return "its canary was not asked for a while" if now - self._last_ok > _STALE_AFTER_S else ""


@contextlib.asynccontextmanager
async def _serving() -> AsyncIterator[Target]:
    certificate, context = _self_signed()
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Target(UUID(int=0), 0, _NAME, port, ("127.0.0.1",), certificate)


class _Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER)
        self._transport.close()


def _self_signed() -> tuple[str, ssl.SSLContext]:
    """A certificate (PEM) for the canary and a server context that presents it; outlives any process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .sign(key, SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    present(context, pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    return pem, context
