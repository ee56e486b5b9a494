"""A real api on a real nats-server, and someone who speaks for the other services."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from nats.js.errors import NotFoundError

from caravan_api.access import Role
from caravan_api.app import build
from caravan_api.settings import Settings
from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.desk import MachineDesk
from caravan_provisioner.store import Table
from caravan_shared.contracts import events as e
from caravan_shared.contracts import requests as r
from caravan_shared.contracts.facts import Event, Finding, FindingLevel, WhoCanFix
from caravan_shared.contracts.requests import (
    AskCloudCheck,
    AskKubeconfig,
    AskRevoke,
    AskRevokeAll,
    AskSweepRelease,
    AskSweepReport,
    CloudCheck,
    Kubeconfig,
    Revoked,
    RevokedAll,
    SweepReleased,
    SweepReport,
    SweepSighted,
)
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.streams import intake_stream
from tests.support import chat
from tests.support.chat import FakeChat
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.runs import answering
from tests.support.spares import seed
from tests.support.store import lay_down, migrated

ADMIN = "first-admin"


class Stack:
    """The running api; `http` speaks as the first admin, `tell` as any other service."""

    def __init__(self, service: Service, http: httpx.AsyncClient) -> None:
        self.service, self.http = service, http
        self._sequence = 0

    async def tell(self, *events: Event, at: datetime | None = None) -> None:
        """Publish facts as the services that own them would."""
        for event in events:
            self._sequence += 1
            await publish(self.service.bus, event, self._sequence, at=at)

    async def offer(self) -> None:
        """Say what provisioner and bootstrapper say at their start, and wait until it is heard."""
        types = [{"name": name, "cpus": 2, "memory_mib": 4096, "disk_gib": 40} for name in ("medium", "large")]
        await self.tell(
            e.CloudOffered.model_validate({**e.CloudOffered.example, "machine_types": types}),
            e.KubernetesOffered(versions=("1.35.1", "1.34.2", "1.33.6")),
        )
        await eventually(self._offers_are_heard)

    async def _offers_are_heard(self) -> bool:
        answers = [await self.http.get(f"/v1/{what}") for what in ("versions", "clouds")]
        return all(answer.status_code == 200 for answer in answers)

    async def add_team(self, name: str) -> None:
        """A team whose requests are listened to from now on."""
        made = await self.http.post("/v1/teams", json={"name": name})
        assert made.status_code == 201, made.text
        await eventually(lambda: self._is_heard(name), saying=f"requests of {name} are listened to")

    async def _is_heard(self, team: str) -> bool:
        try:
            return (await self.service.bus.js.stream_info(intake_stream(team))).state.consumer_count > 0
        except NotFoundError:
            return False

    @asynccontextmanager
    async def speaking_as(self, role: Role, team: str = "default") -> AsyncIterator[httpx.AsyncClient]:
        """A client with a token of its own, of a member of a team that is there from now on."""
        async with self.client(await self.token(f"{role}-of-{team}", team, role=role)) as client:
            yield client

    async def token(self, user: str, team: str = "default", **wish: Any) -> str:
        """A token for a member of a team that is there from now on."""
        await self.http.post("/v1/teams", json={"name": team})
        answer = await self.http.post("/v1/tokens", json={"user": user, **wish}, params={"team": team})
        assert answer.status_code == 201, answer.text
        text: str = answer.json()["token"]
        return text

    def client(self, token: str | None) -> httpx.AsyncClient:
        """A client with that token, or none."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return _client(self.service, headers)

    async def create(self, **spec: Any) -> dict[str, Any]:
        """A new cluster of the example spec with some changes, under a name of its own."""
        answer = await self.http.post("/v1/clusters", json={"name": fresh(), "spec": {**ClusterSpec.example, **spec}})
        assert answer.status_code == 202, answer.text
        cluster: dict[str, Any] = answer.json()
        return cluster

    async def get(self, cluster: dict[str, Any]) -> dict[str, Any]:
        """The cluster as it is now."""
        answer = await self.http.get(f"/v1/clusters/{cluster['id']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def phase(self, cluster: dict[str, Any], phase: str) -> dict[str, Any]:
        """The cluster, once it is in a phase."""

        async def look() -> dict[str, Any] | None:
            found = await self.get(cluster)
            return found if found["phase"] == phase else None

        return await eventually(look, saying=f"{cluster['name']} becomes {phase}")

    async def make_ready(self, cluster: dict[str, Any]) -> dict[str, Any]:
        """Tell all facts that make the cluster Ready."""
        await self.tell(*ready_facts(cluster))
        return await self.phase(cluster, "Ready")


def fresh(prefix: str = "c") -> str:
    """A name that no other test uses."""
    return f"{prefix}{uuid4().hex[:10]}"


def ready_facts(cluster: dict[str, Any]) -> list[Event]:
    """Everything the services say of a cluster from request to Ready, in a natural order."""
    about, generation = cluster["id"], cluster["generation"]
    nodes = [
        {
            "name": f"{cluster['name']}-{node_set['name']}-{number}",
            "node_set": node_set["name"],
            "role": node_set["role"],
        }
        for node_set in cluster["node_sets"]
        for number in range(node_set["wanted"])
    ]
    machines = [
        {
            **node,
            "machine_id": f"m-{node['name']}",
            "address": "127.64.0.1",
            "connection": "sandbox",
            "joins_by_itself": True,
        }
        for node in nodes
    ]
    verdicts = [
        {"name": node["name"], "verdict": "Healthy", "reason": "ready", "since": "2026-01-01T00:00:00Z"}
        for node in nodes
    ]

    def event(kind: type[Event], **fields: Any) -> Event:
        return kind.model_validate({**kind.example, "cluster_id": about, **fields})

    return [
        event(e.NodesCreating, generation=generation, nodes=nodes),
        event(e.EndpointIssued, addresses=[]),
        event(e.NodesReady, generation=generation, nodes=machines, complete=True),
        event(e.BootstrapStarted, generation=generation),
        event(e.EndpointIssued),
        event(e.BootstrapProgress),
        event(e.NodesJoined, nodes=nodes),
        event(e.BootstrapDone, generation=generation, nodes=len(nodes)),
        event(e.HealthChanged, nodes_ready=len(nodes), nodes_seen=len(nodes)),
        event(e.NodesHealthChanged, nodes=verdicts),
    ]


def gone_facts(cluster: dict[str, Any]) -> list[Event]:
    """Everything the services say when nothing of a cluster is left."""
    about = {"cluster_id": cluster["id"]}
    return [
        e.NodesRemoved.model_validate({**about, "remaining": 0, "nodes": []}),
        e.EndpointWithdrawn.model_validate(about),
    ]


@asynccontextmanager
async def running(folder: Path, nats: NatsServer, **settings: Any) -> AsyncIterator[Stack]:
    """An api with a store of its own."""
    own = {
        "state_dir": folder,
        "nats_url": nats.url,
        "http_port": free_port(),
        "bootstrap_token": ADMIN,
        "feed_poll_s": 0.3,
    }
    service = build(Settings(**{**own, **settings}))
    await lay_down(service.db)
    async with service.running(), _client(service, {"Authorization": f"Bearer {ADMIN}"}) as http:
        yield Stack(service, http)


def _client(service: Service, headers: dict[str, str]) -> httpx.AsyncClient:
    """Over plain HTTP: without the TLS context that httpx would make for each client, at tens of milliseconds."""
    url = f"http://127.0.0.1:{service.http_port}"
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=20, verify=False)


@pytest.fixture(scope="package")
def api_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server for the api alone: other suites use the same streams."""
    server = NatsServer(tmp_path_factory.mktemp("api-nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory, api_nats: NatsServer) -> AsyncIterator[Stack]:
    """One api for all tests, which know what clouds and versions there are."""
    folder = tmp_path_factory.mktemp("api")
    async with running(folder, api_nats, heartbeat_s=0.2) as one:
        await one.offer()
        await one.add_team("builds")
        yield one


@dataclass
class Chats:
    """An api with a Slack app `acme` and a Mattermost command `mm`, and the fake of both that it writes to."""

    stack: Stack
    fake: FakeChat

    async def post(self, where: str, request: chat.Request) -> httpx.Response:
        """What a product is answered at `/chat/<where>`."""
        async with self.stack.client(None) as http:
            return await http.post(f"/chat/{where}", content=request.body, headers=request.headers)

    async def link(self, chat_user: str, role: str, team: str = "default") -> str:
        """Have somebody in Slack be a new member of that role; the member's name."""
        user = fresh(role)
        answer = await self.post("acme", chat.slack_command("link", user=chat_user))
        code = re.findall(r"chat link (\w+)", answer.text)[0]
        async with self.stack.client(await self.stack.token(user, team, role=role)) as http:
            linked = await http.post("/v1/chat-links", json={"code": code})
        assert linked.status_code == 201, linked.text
        return user


@pytest.fixture(scope="package")
async def chats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chats]:
    """Chats on an api of their own, with two pools that have spares."""
    folder, port = tmp_path_factory.mktemp("chats"), free_port()
    nats = NatsServer(folder / "nats")
    nats.start()
    await seed(f"sqlite+aiosqlite:///{folder}/api.db", pools=2, spares=6)
    settings = {
        "chat": {
            "acme": {"product": "slack", "signing_secret": chat.SLACK_SECRET, "workspaces": [chat.SLACK_WORKSPACE]},
            "mm": {
                "product": "mattermost",
                "token": chat.MATTERMOST_TOKEN,
                "workspaces": [chat.MATTERMOST_TEAM],
                "api_url": "https://caravan.example.org",
            },
        },
        "chat_hosts": [f"127.0.0.1:{port}"],
        "notify_group_s": 0.3,
        "notify_burst": 2,
        "notify_every_s": 1,
        "notify_tries": 2,
    }
    async with chat.fake_chat(port) as fake, running(folder, nats, **settings) as stack:
        await stack.offer()
        yield Chats(stack, fake)
    nats.stop()


@pytest.fixture
async def dns(stack: Stack, api_nats: NatsServer) -> AsyncIterator[list[AskKubeconfig | AskRevoke]]:
    """Answers as dns would, and keeps what it was asked."""
    asked: list[AskKubeconfig | AskRevoke] = []

    async def issue(request: AskKubeconfig) -> Kubeconfig:
        asked.append(request)
        if request.ttl_s > 7200:
            raise GiveUp("at most two hours here", who_can_fix=WhoCanFix.USER)
        expires = datetime.now(UTC) + timedelta(seconds=request.ttl_s)
        return Kubeconfig(grant_id=uuid4(), kubeconfig="kind: Config", expires_at=expires)

    async def revoke(request: AskRevoke) -> Revoked:
        asked.append(request)
        return Revoked()

    async def revoke_all(_request: AskRevokeAll) -> RevokedAll:
        return RevokedAll(items=())

    bus = Bus(api_nats.url, "dns", 1)
    requests.answer(bus, stack.service.keys, AskKubeconfig, issue)
    requests.answer(bus, stack.service.keys, AskRevoke, revoke)
    requests.answer(bus, stack.service.keys, AskRevokeAll, revoke_all)
    await bus.start()
    yield asked
    await bus.stop()


@pytest.fixture
async def inventory_db(tmp_path: Path) -> AsyncIterator[Database]:
    """The provisioner's store."""
    async with migrated(Database(f"sqlite+aiosqlite:///{tmp_path}/provisioner.db", Table.metadata, MIGRATIONS)) as db:
        yield db


@pytest.fixture
async def inventory(stack: Stack, inventory_db: Database, api_nats: NatsServer) -> AsyncIterator[Database]:
    """The provisioner's desk, and the bootstrapper's answer to the one question that is its own."""

    async def nothing(_cloud: str) -> None:
        return None

    async def key(_asked: r.AskOperatorKey) -> r.OperatorKey:
        return r.OperatorKey(public="ssh-ed25519 AAAA caravan-operator")

    desk = MachineDesk(inventory_db, SystemClock(), ["metal"], nothing)
    keeper, runner = Bus(api_nats.url, "provisioner", 1), Bus(api_nats.url, "bootstrapper", 1)
    requests.answer(keeper, stack.service.keys, r.AskMachines, desk.list)
    requests.answer(keeper, stack.service.keys, r.AskMachineImport, desk.take_in)
    requests.answer(keeper, stack.service.keys, r.AskMachineChange, desk.change)
    requests.answer(keeper, stack.service.keys, r.AskMachineRemoval, desk.remove)
    requests.answer(keeper, stack.service.keys, r.AskMachineRelease, desk.release)
    requests.answer(runner, stack.service.keys, r.AskOperatorKey, key)
    await keeper.start()
    await runner.start()
    yield inventory_db
    await runner.stop()
    await keeper.stop()


@pytest.fixture
async def provisioner(stack: Stack, api_nats: NatsServer) -> AsyncIterator[None]:
    """Answers as the provisioner would, for a cloud `sandbox` that has no room left."""

    def known(cloud: str) -> None:
        if cloud != "sandbox":
            raise GiveUp(f"there is no cloud {cloud!r}; configured: sandbox", who_can_fix=WhoCanFix.USER)

    async def check(request: AskCloudCheck) -> CloudCheck:
        known(request.cloud)
        found = (
            Finding(about="api", level=FindingLevel.OK, says="it answers"),
            Finding(about="quota", level=FindingLevel.FATAL, says="10 of 10 machines in use", mend="Delete some."),
        )
        return CloudCheck(cloud=request.cloud, kind="sandbox", findings=found)

    async def sweep(request: AskSweepReport) -> SweepReport:
        known(request.cloud)
        at = datetime.now(UTC)
        return SweepReport(
            items=(
                SweepSighted(
                    machine_id="m-1",
                    name="old-workers-k3x9-1",
                    cluster_id=uuid4(),
                    reason="its cluster was deleted",
                    verdict="seen once; deleted if it is still there at a later sweep",
                    first_seen_at=at,
                    last_seen_at=at,
                ),
            )
        )

    async def release(_request: AskSweepRelease) -> SweepReleased:
        return SweepReleased(was_held=True)

    bus = Bus(api_nats.url, "provisioner", 1)
    requests.answer(bus, stack.service.keys, AskCloudCheck, check)
    requests.answer(bus, stack.service.keys, AskSweepReport, sweep)
    requests.answer(bus, stack.service.keys, AskSweepRelease, release)
    await bus.start()
    yield
    await bus.stop()


@pytest.fixture(scope="package")
async def runs(stack: Stack, api_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """The bootstrapper's store, of whose runs it tells."""
    async with answering(tmp_path_factory.mktemp("runs"), api_nats.url, stack.service.keys) as db:
        yield db
