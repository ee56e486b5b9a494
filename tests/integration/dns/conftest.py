"""A dns service on a real nats-server, the facts of the services around it, and a kube-apiserver's door with TLS."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from caravan_dns.app import build
from caravan_dns.settings import Settings
from caravan_shared.contracts.events import (
    BootstrapStarted,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    NodesHealthChanged,
    NodesJoined,
    NodesLeaving,
    NodesReady,
)
from caravan_shared.contracts.facts import Connection, Event, NodeRef, NodeVerdict, ReadyNode
from caravan_shared.contracts.requests import AskClusterPki, ClusterPki, Reply, Request
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ClusterSpec, Role
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.service import Service
from tests.contracts.zone_suite import Server
from tests.support.eventually import eventually
from tests.support.outbox import said
from tests.support.ports import accepts, free_port
from tests.support.publishing import publish
from tests.support.store import lay_down

E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=Reply)


@dataclass
class Around:
    """The other services, as far as dns can tell."""

    bus: Bus
    keys: KeyRing
    sequence: int = 0

    async def say(self, event: Event, *, sequence: int | None = None) -> None:
        """Publish a fact; a lower sequence is an older one that comes late."""
        self.sequence += 1
        await publish(self.bus, event, sequence or self.sequence)

    async def ask(self, request: Request, reply_type: type[R]) -> R:
        """Ask dns."""
        return await requests.ask(self.bus, self.keys, request, reply_type)


@dataclass
class Dns:
    """Starts dns services that share one store."""

    settings: Settings

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[Service]:
        """One life of the service."""
        settings = Settings(**(self.settings.model_dump() | changes))
        service = build(settings)
        await lay_down(service.db)
        async with service.running():
            if settings.zone == "embedded":  # UDP, which listens first, would lose an early question without a word
                await eventually(lambda: accepts(settings.embedded_port))
            yield service

    @property
    def server(self) -> Server:
        """Where the embedded zone is served."""
        return Server(self.settings.embedded_port)


@dataclass
class Subject:
    """One cluster, its facts made short."""

    around: Around
    id: UUID = field(default_factory=uuid4)

    @property
    def name(self) -> str:
        """A name that no other test has."""
        return f"c{self.id.hex[:8]}"

    @property
    def host(self) -> str:
        """Its endpoint's name."""
        return f"{self.name}.default.caravan.test"

    def node(self, number: int) -> NodeRef:
        """A control-plane node."""
        return NodeRef(name=f"{self.name}-control-plane-a1b2-{number}", node_set=CONTROL_PLANE_SET)

    def requested(self, announcement: int = 1, virtual_ip: str | None = None) -> ClusterRequested:
        """It is wanted."""
        network = {"virtual_ip": virtual_ip}
        spec = ClusterSpec.model_validate({"version": "1.34.2", "network": network})
        return ClusterRequested(
            cluster_id=self.id, team="default", name=self.name, generation=1, announcement=announcement, spec=spec
        )

    def deletion_requested(self, announcement: int = 1) -> ClusterDeletionRequested:
        """It is no longer wanted."""
        return ClusterDeletionRequested(cluster_id=self.id, team="default", name=self.name, announcement=announcement)

    def deleted(self) -> ClusterDeleted:
        """It is gone."""
        return ClusterDeleted(cluster_id=self.id, team="default", name=self.name)

    def started(self, number: int, address: str) -> BootstrapStarted:
        """kubeadm starts on this node."""
        return BootstrapStarted(cluster_id=self.id, generation=1, first_node=self.node(number).name, address=address)

    def ready(self, balanced_at: str | None = None, **addresses: str) -> NodesReady:
        """These control-plane nodes run: `n1="10.0.0.1"`; perhaps behind a load balancer."""
        nodes = tuple(
            ReadyNode(
                **self.node(int(key[1:])).model_dump(),
                role=Role.CONTROL_PLANE,
                machine_id=key,
                address=address,
                connection=Connection.SANDBOX,
                joins_by_itself=False,
                virtual_ip=balanced_at,
            )
            for key, address in addresses.items()
        )
        return NodesReady(cluster_id=self.id, generation=1, complete=True, nodes=nodes)

    def joined(self, *numbers: int) -> NodesJoined:
        """These control-plane nodes serve."""
        return NodesJoined(cluster_id=self.id, version="1.34.2", nodes=tuple(map(self.node, numbers)))

    def leaving(self, *numbers: int) -> NodesLeaving:
        """These control-plane nodes go."""
        return NodesLeaving(cluster_id=self.id, nodes=tuple(map(self.node, numbers)))

    def health(self, verdict: Verdict, *numbers: int) -> NodesHealthChanged:
        """These control-plane nodes are seen so."""
        now = datetime.now(UTC)
        nodes = (NodeVerdict(name=self.node(n).name, verdict=verdict, reason="test", since=now) for n in numbers)
        return NodesHealthChanged(cluster_id=self.id, nodes=tuple(nodes))


async def authority(around: Around, cluster: Subject) -> ClusterPki | None:
    """The cluster's authority, if it is made."""
    try:
        return await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    except Retry:
        return None


@dataclass
class Told:
    """What a dns service has said, from its outbox."""

    service: Service

    async def of(self, event_type: type[E], cluster: Subject) -> list[E]:
        """All events of a type about the cluster so far, oldest first."""
        return await said(self.service.db, event_type, cluster.id)

    async def until(self, event_type: type[E], cluster: Subject, met: Callable[[E], bool] = lambda _: True) -> E:
        """The latest event of a type, once it meets a condition."""

        async def latest() -> E | None:
            events = await self.of(event_type, cluster)
            return events[-1] if events and met(events[-1]) else None

        return await eventually(latest, saying=f"{event_type.subject} as expected")

    async def addresses(self, cluster: Subject, *addresses: str) -> EndpointIssued:
        """The endpoint, once it has exactly these addresses."""
        return await self.until(EndpointIssued, cluster, lambda event: event.addresses == addresses)


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The service's store: an SQLite file, unless a module says otherwise."""
    return f"sqlite+aiosqlite:///{tmp_path}/dns.db"


@pytest.fixture
def dns(nats_url: str, tmp_path: Path, store_url: str) -> Dns:
    """A dns service to start: embedded zone, ports and a key ring of its own."""
    return Dns(
        Settings(
            state_dir=tmp_path,
            nats_url=nats_url,
            database_url=store_url,
            http_port=free_port(),
            embedded_port=free_port(),
            apiserver_port=free_port(),
            resync_every_s=0.5,
        )
    )


@pytest.fixture
async def around(nats_url: str, tmp_path: Path) -> AsyncIterator[Around]:
    """The others, connected."""
    bus = Bus(nats_url, "test", 1)
    await bus.start()
    yield Around(bus, KeyRing.load(tmp_path / "keys.json"))
    await bus.stop()


@pytest.fixture
def cluster(around: Around) -> Subject:
    """A cluster nobody has heard of yet."""
    return Subject(around)


@pytest.fixture
async def service(dns: Dns) -> AsyncIterator[Service]:
    """A dns service at work."""
    async with dns.running() as service:
        yield service


@pytest.fixture
def told(service: Service) -> Told:
    """What it has said."""
    return Told(service)


_VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.2",
    **dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "test"),
}


@dataclass
class Apiserver:
    """A kube-apiserver's door: real TLS under the cluster's CA, client certificates, ClusterRoleBindings, faults."""

    pki: ClusterPki
    host: str
    bindings: dict[str, dict[str, Any]] = field(default_factory=dict)
    callers: list[tuple[str, str]] = field(default_factory=list)
    """(user, group) of each call."""
    answer_with: int | None = None
    """A status to answer every call with."""
    _runner: web.AppRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=self._tls(address)).start()

    async def stop(self) -> None:
        """Hang up."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.Response:
        assert request.transport
        subject = {key: value for ((key, value),) in request.transport.get_extra_info("peercert")["subject"]}
        self.callers.append((subject["commonName"], subject["organizationName"]))
        if self.answer_with:
            return web.json_response({"message": "as told"}, status=self.answer_with)
        name = request.path.rsplit("/", 1)[-1]
        if request.method == "POST":
            body = await request.json()
            known = self.bindings.setdefault(body["metadata"]["name"], body)
            return web.json_response(body, status=201 if known is body else 409)
        if request.method == "DELETE":
            return web.json_response({}, status=200 if self.bindings.pop(name, None) else 404)
        return web.json_response(_VERSION)

    def _tls(self, address: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.pki.ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED
        with NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(_serving_certificate(self.pki, self.host, address))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _serving_certificate(pki: ClusterPki, host: str, address: str) -> str:
    key, issuer = ec.generate_private_key(ec.SECP256R1()), x509.load_pem_x509_certificate(pki.ca_cert.encode())
    now, signer = datetime.now(UTC), load_pem_private_key(pki.ca_key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    names = [x509.DNSName(host), x509.IPAddress(ip_address(address))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    return pem.decode()


@pytest.fixture
async def apiserver(service: Service, told: Told, cluster: Subject) -> AsyncIterator[Apiserver]:
    """The cluster, requested and with one control plane on 127.0.0.1 that answers."""
    await cluster.around.say(cluster.requested())
    await cluster.around.say(cluster.started(1, "127.0.0.1"))
    await told.addresses(cluster, "127.0.0.1")
    pki = await cluster.around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    apiserver = Apiserver(pki, cluster.host)
    settings = service.settings
    assert isinstance(settings, Settings)
    await apiserver.start("127.0.0.1", settings.apiserver_port)
    yield apiserver
    await apiserver.stop()
