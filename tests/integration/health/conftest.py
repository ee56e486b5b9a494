"""Stand-ins for kube-apiservers on loopback: real TLS, real sockets, and every bad habit the prober has to survive."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from caravan_health.probe import present
from caravan_health.target import Target
from caravan_shared.contracts.requests import ClientCertificate

HOST = "demo.default.caravan.test"
CHECKS = b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n"
FAILED = b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
NEVER_S = 3600


class Authority:
    """A cluster's CA."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster CA")])
        self.ca_certificate, _ = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def server_context(self, host: str = HOST, *, wants_client: bool = True) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        cert, pem = self._sign(_named("server"), key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        present(context, cert, pem)
        if wants_client:
            context.load_verify_locations(cadata=self.ca_certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, lasts: timedelta = timedelta(hours=8)) -> ClientCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        cert, pem = self._sign(_named("health", "caravan:health"), key, usage)
        return ClientCertificate(ca_cert=self.ca_certificate, cert=cert, key=pem, not_after=datetime.now(UTC) + lasts)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> tuple[str, str]:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(self._key, SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return certificate.public_bytes(Encoding.PEM).decode(), pem


def _named(name: str, organisation: str = "tests") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
        ]
    )


@dataclass
class Apiserver:
    """One stand-in. Set `habit` to change how it answers; `nodes` is what it lists."""

    authority: Authority
    habit: str = "well"
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, self.address, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die as a killed process does: no listener, every connection reset."""
        if self._server:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0)
            self._server = None

    async def restart(self) -> None:
        await self.start(self.authority.server_context())

    def target(self, *addresses: str, cluster_id: UUID | None = None, **more: Any) -> Target:
        where = addresses or (self.address,)
        return Target(cluster_id or uuid4(), 1, HOST, self.port, where, self.authority.ca_certificate, **more)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(request.split(b" ")[1].decode())
                await self._answer(self.asked[-1], writer)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        match self.habit:
            case "hangs":
                await asyncio.sleep(NEVER_S)
            case "hangs up":
                raise ConnectionResetError
            case "trickles":
                writer.write(_head(200, 1000))
                while True:
                    writer.write(b"[")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "babbles":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                    await writer.drain()
            case "speaks no HTTP":
                writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            case "redirects":
                writer.write(_head(302, 0, b"Location: https://127.0.0.1:1/\r\n"))
            case "greets":
                _write(writer, 200, b"<html>It works!</html>")
            case "fails":
                _write(writer, 500, b"internal error")
            case "etcd down":
                _write(writer, 500, FAILED)
            case "refuses us":
                _write(writer, 401, b"{}")
            case _ if path.startswith("/readyz"):
                _write(writer, 200, CHECKS)
            case _:
                _write(writer, 200, self._node_list())

    def _node_list(self) -> bytes:
        items = [
            {
                "metadata": {"name": name},
                "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]},
            }
            for name, conditions in self.nodes.items()
        ]
        return json.dumps({"kind": "NodeList", "metadata": {}, "items": items}).encode()


def _head(status: int, length: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n" % (status, more, length)


def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(_head(status, len(body)) + body)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def apiserver(authority: Authority) -> AsyncIterator[Apiserver]:
    """A stand-in that is well, with two ready nodes."""
    server = Apiserver(authority, nodes={"w-1": {"Ready": "True"}, "w-2": {"Ready": "True"}})
    await server.restart()
    yield server
    await server.stop()
