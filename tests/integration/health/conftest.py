"""Stand-ins for kube-apiservers on loopback: real TLS, real sockets, and every bad habit the prober has to survive."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from caravan_health.app import monitor_for
from caravan_health.beliefs import Change
from caravan_health.credentials import Credentials
from caravan_health.monitor import Monitor
from caravan_health.settings import Settings
from caravan_health.target import Target
from caravan_health.verdict import unasked
from caravan_health.watch import LookElsewhere, Watch
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.sealing import KeyRing
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.tls import HOST, Authority

CHECKS = b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n"
FAILED = b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
NEVER_S = 3600


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
        await self.start(self.authority.server_context(insists=False))

    def target(self, *addresses: str, cluster_id: UUID | None = None, **more: Any) -> Target:
        where = addresses or (self.address,)
        return Target(cluster_id or uuid4(), 1, HOST, self.port, where, self.authority.ca_cert, **more)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it died during the handshake
            writer.transport.abort()
            return
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
            case "lists for ever" if path.startswith("/api"):
                await asyncio.sleep(NEVER_S)
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


@dataclass
class Watching:
    """A running watch, and all it ever said."""

    watch: Watch
    monitor: Monitor
    said: list[tuple[UUID, Verdict]] = field(default_factory=list)
    verdicts: dict[UUID, Verdict] = field(default_factory=dict)
    """What was said last of each cluster."""
    nodes: dict[str, Verdict] = field(default_factory=dict)

    def take(self, cluster_id: UUID, change: Change) -> None:
        if change.belief:
            self.said.append((cluster_id, change.belief.verdict))
            self.verdicts[cluster_id] = change.belief.verdict
        self.nodes |= {name: node.verdict for name, node in change.nodes.items()}

    def follow(self, *targets: Target) -> None:
        for target in targets:
            self.watch.follow(target, unasked(SystemClock().now()), {}, 0.0)

    def verdict(self, target: Target) -> Verdict:
        return self.verdicts.get(target.cluster_id, Verdict.UNKNOWN)

    async def until(self, verdict: Verdict, *targets: Target, within: float = 5.0) -> None:
        await eventually(
            lambda: all(self.verdict(target) is verdict for target in targets), within=within, saying=verdict
        )

    def ever(self, verdict: Verdict) -> bool:
        return any(said is verdict for _, said in self.said)


async def nobody_else(_: UUID) -> None:
    """There is no other replica."""


@contextlib.asynccontextmanager
async def watching(
    settings: Settings, certificate: ClientCertificate, elsewhere: LookElsewhere = nobody_else
) -> AsyncIterator[Watching]:
    async def ask(_: AskClientCertificate, __: type[ClientCertificate]) -> ClientCertificate:
        return certificate

    monitor = monitor_for(settings)
    clock = SystemClock()
    running = Watching(
        Watch(settings, monitor, Credentials(ask, clock), clock, lambda *said: running.take(*said), elsewhere),
        monitor,
    )
    tasks = [asyncio.create_task(part) for part in (monitor.run(), running.watch.run())]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Dns:
    """The other services, as far as health can tell: their facts, and dns's answers about certificates."""

    bus: Bus
    certificates: dict[UUID, ClientCertificate] = field(default_factory=dict)
    sequence: int = 0

    async def say(self, event: Event) -> None:
        self.sequence += 1
        await publish(self.bus, event, self.sequence)

    async def answer(self, question: AskClientCertificate) -> ClientCertificate:
        if question.cluster_id not in self.certificates:
            raise Retry("dns does not know this cluster")
        return self.certificates[question.cluster_id]


@pytest.fixture
async def around(nats_url: str, tmp_path: Path) -> AsyncIterator[Dns]:
    """The others, connected."""
    bus = Bus(nats_url, "dns", 1)
    around = Dns(bus)
    requests.answer(bus, KeyRing.load(tmp_path / "keys.json"), AskClientCertificate, around.answer)
    await bus.start()
    yield around
    await bus.stop()


@pytest.fixture
def settings(tmp_path: Path, nats_url: str) -> Settings:
    """Everything ten times as fast."""
    return Settings(
        state_dir=tmp_path,
        nats_url=nats_url,
        http_port=free_port(),
        probe_every_s=0.3,
        recheck_s=0.1,
        unreachable_every_s=0.3,
        probe_timeout_s=0.3,
        stale_after_s=1.2,
        nodes_every=2,
    )
