"""A real sandbox process, and a provisioner on a real nats-server with a stand-in for the services around it."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import pytest

from caravan_provisioner import app
from caravan_provisioner.clouds.sandbox import SandboxCloud, SandboxConfig
from caravan_provisioner.settings import Settings
from caravan_shared.contracts.events import (
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    NodesDrained,
    NodesHealthChanged,
    NodesJoined,
    NodesLeaving,
    NodesPowerChanged,
    NodesReady,
)
from caravan_shared.contracts.facts import Event, NodeRef, NodeVerdict, ReadyNode
from caravan_shared.contracts.requests import AskUserData, UserData
from caravan_shared.contracts.spec import ClusterSpec, ControlPlane, WorkerSet
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.service import Service
from tests.support import process
from tests.support.eventually import eventually
from tests.support.http import answers
from tests.support.nats import NatsServer
from tests.support.outbox import said
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.redfish import Redfish, emulating
from tests.support.store import lay_down

E = TypeVar("E", bound=Event)
PATIENCE_S = 20.0


@dataclass
class Sandbox:
    """A running sandbox."""

    url: str
    http: aiohttp.ClientSession

    async def fault(self, kind: str, times: int = 1, **where: str) -> None:
        async with self.http.post("/v1/faults", json={"kind": kind, "times": times, **where}) as response:
            response.raise_for_status()

    async def machines(self, **tags: str) -> list[dict[str, Any]]:
        query = [("tag", f"caravan-{key}={value}") for key, value in tags.items()]
        async with self.http.get("/v1/machines", params=query) as response:
            response.raise_for_status()
            listed: list[dict[str, Any]] = (await response.json())["machines"]
            return listed

    async def power(self, *ids: str, on: bool) -> None:
        async with self.http.post("/v1/machines/power", json={"ids": ids, "on": on}) as response:
            response.raise_for_status()

    async def reboots(self) -> int:
        """How many were asked for, whatever came of them."""
        async with self.http.get("/v1/calls") as response:
            return int((await response.json()).get("POST /v1/machines/reboot", 0))

    async def delete(self, *ids: str) -> None:
        async with self.http.post("/v1/machines/delete", json={"ids": ids}) as response:
            response.raise_for_status()


@pytest.fixture(scope="package")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """The sandbox as a process of its own, with short latencies."""
    port = free_port()
    folder = tmp_path_factory.mktemp("sandbox")
    settings = {
        "state_dir": folder,
        "http_port": port,
        "network": "127.65.0.0/16",
        "vm_boot_s": 0.1,
        "delete_s": 0.1,
        "machines_limit": 300,
    }
    running = process.start("sandbox", folder / "log", settings)
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(url, headers={"Authorization": "Bearer sandbox"}) as http:
        await eventually(lambda: answers(http, "/v1/cloud", running), within=PATIENCE_S, saying="the sandbox answers")
        yield Sandbox(url, http)
    running.stop(within_s=PATIENCE_S)


@pytest.fixture(scope="package")
async def bmcs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redfish]:
    """BMCs of as many machines as the largest batch of an inventory wants, and some more."""
    async with emulating(tmp_path_factory.mktemp("redfish"), range(110)) as redfish:
        yield redfish


@pytest.fixture
def redfish(bmcs: Redfish) -> Redfish:
    """Those BMCs, behaving well to begin with."""
    bmcs.meddle()
    return bmcs


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    """A ring that seals BMCs' passwords."""
    return KeyRing.load(tmp_path / "keys.json")


@dataclass
class Around:
    """The other services, as far as the provisioner can tell: publishes their facts, answers its question."""

    bus: Bus
    user_data: dict[str, str | Exception] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    sequence: int = 0

    async def say(self, event: Event) -> None:
        self.sequence += 1
        await publish(self.bus, event, self.sequence)

    async def answer(self, question: AskUserData) -> UserData:
        self.asked[question.node_set] += 1
        answer = self.user_data.get(question.node_set, "#cloud-config\n{}\n")
        if isinstance(answer, Exception):
            raise answer
        return UserData(user_data=answer)


@pytest.fixture
async def around(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Around]:
    """The others, connected."""
    bus = Bus(nats_server.url, "bootstrapper", 1)
    around = Around(bus)
    requests.answer(bus, KeyRing.load(tmp_path / "keys.json"), AskUserData, around.answer)
    await bus.start()
    yield around
    await bus.stop()


@dataclass
class Asker:
    """One cluster, as its owner sees it."""

    around: Around
    service: Service
    cluster_id: UUID
    name: str
    generation: int = 0
    announcement: int = 0
    retry: int = 0
    replacing: tuple[str, ...] = ()
    asleep: bool = False
    power_generation: int = 0
    spec: ClusterSpec = field(default_factory=lambda: ClusterSpec(version="1.34.2"))
    patience_s: float = PATIENCE_S

    async def want(
        self, workers: int, *, machine_type: str = "small", control_plane: int = 1, paused: bool = False
    ) -> None:
        """A new generation of the spec."""
        self.generation += 1
        self.spec = ClusterSpec(
            version="1.34.2",
            control_plane=ControlPlane(count=control_plane, machine_type="small"),
            workers=(WorkerSet(count=workers, machine_type=machine_type),),
            paused=paused,
        )
        await self.announce()

    async def announce(self, *, retry: bool = False) -> None:
        self.announcement += 1
        self.retry += retry
        await self.around.say(
            ClusterRequested(
                cluster_id=self.cluster_id,
                team="default",
                name=self.name,
                generation=self.generation,
                announcement=self.announcement,
                retry=self.retry,
                spec=self.spec,
                replace=self.replacing,
                asleep=self.asleep,
                power_generation=self.power_generation,
            )
        )

    async def sleep(self, *, asleep: bool = True) -> NodesPowerChanged:
        """Have it put to sleep or woken; what is told once that is complete."""
        self.asleep, self.power_generation = asleep, self.power_generation + 1
        await self.announce()
        told = await self.until_told(NodesPowerChanged, lambda events: any(map(self._is_reached, events)))
        return next(filter(self._is_reached, reversed(told)))

    def _is_reached(self, event: NodesPowerChanged) -> bool:
        return event.complete and event.power_generation == self.power_generation

    async def delete(self, announcement: int = 1) -> None:
        await self.around.say(
            ClusterDeletionRequested(
                cluster_id=self.cluster_id, team="default", name=self.name, announcement=announcement
            )
        )

    async def deleted(self) -> None:
        await self.around.say(ClusterDeleted(cluster_id=self.cluster_id, team="default", name=self.name))

    async def join(self, *nodes: ReadyNode) -> None:
        """Say that nodes have joined, as the bootstrapper does."""
        refs = tuple(NodeRef(name=node.name, node_set=node.node_set) for node in nodes)
        await self.around.say(NodesJoined(cluster_id=self.cluster_id, version="1.34.2", nodes=refs))

    async def judge(self, verdict: Verdict, *nodes: ReadyNode) -> None:
        """Say what health believes of nodes."""
        said = tuple(
            NodeVerdict(name=node.name, verdict=verdict, reason=f"it is {verdict}", since=datetime.now(UTC))
            for node in nodes
        )
        await self.around.say(NodesHealthChanged(cluster_id=self.cluster_id, nodes=said))

    async def made(self, generation: int = 1) -> dict[str, list[ReadyNode]]:
        """The nodes told as ready by set, once all of a generation are."""
        events = await self.until_told(
            NodesReady, lambda events: any(event.generation == generation and event.complete for event in events)
        )
        nodes = {node.name: node for event in events for node in event.nodes}
        return {
            node_set: [node for node in nodes.values() if node.node_set == node_set]
            for node_set in {node.node_set for node in nodes.values()}
        }

    async def drain_leaving(self) -> None:
        """Say drained for every node told as leaving."""
        for event in await self.told(NodesLeaving):
            await self.around.say(NodesDrained(cluster_id=self.cluster_id, nodes=event.nodes))

    async def told(self, event_type: type[E]) -> list[E]:
        """All events of a type about the cluster so far, oldest first."""
        return await said(self.service.db, event_type, self.cluster_id)

    async def until_told(self, event_type: type[E], met: Callable[[list[E]], bool] = bool) -> list[E]:
        """All events of a type, once they meet a condition."""

        async def look() -> list[E] | None:
            events = await self.told(event_type)
            return events if met(events) else None

        return await eventually(look, within=self.patience_s, saying=f"{event_type.subject} as expected")


@dataclass
class Provisioner:
    """Starts provisioners that share one store."""

    around: Around
    settings: Settings

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        service = app.build(self.settings)
        await lay_down(service.db)
        async with service.running():
            yield service

    def asker(self, service: Service) -> Asker:
        return Asker(self.around, service, uuid4(), f"c{uuid4().hex[:6]}")


@pytest.fixture
def settings(nats_server: NatsServer, sandbox: Sandbox, tmp_path: Path) -> Settings:
    """Quick ones, with a store and an installation id of their own."""
    return Settings(
        state_dir=tmp_path,
        nats_url=nats_server.url,
        sandbox_url=sandbox.url,
        http_port=free_port(),
        installation=f"test-{uuid4()}",
        settle_s=0.5,
        delete_again_s=2,
        calm_listing_s=0.2,
        backoff_s=0.1,
        repair_after_s=1,
        reboot_wait_s=0,
        attempts=2,
        resync_every_s=0.5,
        lease_s=3,
    )


@pytest.fixture
def provisioner(around: Around, settings: Settings) -> Provisioner:
    """A provisioner, not running yet."""
    return Provisioner(around, settings)


@pytest.fixture
async def service(provisioner: Provisioner) -> AsyncIterator[Service]:
    """A running provisioner."""
    async with provisioner.running() as service:
        yield service


@pytest.fixture
def asker(provisioner: Provisioner, service: Service) -> Asker:
    """Somebody who wants a cluster."""
    return provisioner.asker(service)


@pytest.fixture
async def sandbox_cloud(sandbox: Sandbox) -> AsyncIterator[SandboxCloud]:
    """The adapter under test, connected to the sandbox."""
    cloud = SandboxCloud("sandbox", SandboxConfig(url=sandbox.url))
    yield cloud
    await cloud.close()
