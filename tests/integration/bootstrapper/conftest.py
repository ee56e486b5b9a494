"""A bootstrapper beside a real dns, a real sandbox cloud and a real nats-server; the test plays the provisioner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import pytest

from caravan_bootstrapper.app import build
from caravan_bootstrapper.settings import Settings
from caravan_dns.app import build as build_dns
from caravan_dns.settings import Settings as DnsSettings
from caravan_sandbox.app import build as build_sandbox
from caravan_sandbox.settings import Settings as SandboxSettings
from caravan_shared.contracts.events import ClusterDeletionRequested, ClusterRequested, NodesLeaving, NodesReady
from caravan_shared.contracts.facts import Connection, Event, NodeRef, ReadyNode
from caravan_shared.contracts.requests import AskUserData, Reply, Request, UserData
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.service import Service
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.outbox import said
from tests.support.ports import free_port
from tests.support.publishing import publish

E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=Reply)
TOKEN = "sandbox-token-of-the-test"


@dataclass
class Cloud:
    """The sandbox's cloud API, as the provisioner uses it."""

    url: str

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call; the answer's JSON."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, json=body) as response,
        ):
            assert response.ok, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def create(self, names: list[str], user_data: str | None) -> dict[str, dict[str, Any]]:
        """Machines by name, booted."""
        tag = f"test-{uuid4().hex[:8]}"
        body = {"names": names, "machine_type": "medium", "tags": {"test": tag}, "user_data": user_data}
        await self.call("POST", "/v1/machines", body)

        async def booted() -> dict[str, dict[str, Any]] | None:
            machines = (await self.call("GET", f"/v1/machines?tag=test={tag}"))["machines"]
            return {m["name"]: m for m in machines} if all(m["address"] for m in machines) else None

        return await eventually(booted)


@dataclass
class World:
    """All that is around one bootstrapper, and the provisioner's part of the talk."""

    bus: Bus
    keys: KeyRing
    cloud: Cloud
    settings: Settings
    sequence: int = 0

    @asynccontextmanager
    async def bootstrapper(self, **changes: Any) -> AsyncIterator[Service]:
        """One life of the service."""
        changes |= {"http_port": free_port()}
        async with build(Settings(**(self.settings.model_dump() | changes))).running() as service:
            yield service

    async def say(self, event: Event) -> None:
        """Publish a fact."""
        self.sequence += 1
        await publish(self.bus, event, self.sequence)

    async def ask(self, request: Request, reply_type: type[R]) -> R:
        """Ask a service."""
        return await requests.ask(self.bus, self.keys, request, reply_type)


@dataclass
class Subject:
    """One cluster and its nodes."""

    world: World
    service: Service | None
    spec: dict[str, Any]
    id: UUID = field(default_factory=uuid4)
    generation: int = 1
    announcement: int = 1
    asleep: bool = False
    retry: int = 0
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name that no other test has."""
        return f"c{self.id.hex[:8]}"

    async def request(self) -> None:
        """Say that it is wanted."""
        event = ClusterRequested(
            cluster_id=self.id,
            team="default",
            name=self.name,
            generation=self.generation,
            announcement=self.announcement,
            retry=self.retry,
            asleep=self.asleep,
            spec=ClusterSpec.model_validate(self.spec),
        )
        await self.world.say(event)

    async def change(self, **fields: Any) -> None:
        """Ask for something else."""
        self.spec = self.spec | fields
        self.generation, self.announcement = self.generation + 1, self.announcement + 1
        await self.request()

    async def delete(self) -> None:
        """Say that it is not wanted."""
        await self.world.say(
            ClusterDeletionRequested(cluster_id=self.id, team="default", name=self.name, announcement=1)
        )

    async def user_data(self, node_set: str) -> str:
        """What the set's machines boot with, as soon as the bootstrapper can tell."""

        async def answer() -> str | None:
            try:
                return (await self.world.ask(AskUserData(cluster_id=self.id, node_set=node_set), UserData)).user_data
            except Retry:
                return None

        return await eventually(answer)

    async def make(self, node_set: str, *numbers: int, pull: bool = False, complete: bool = True) -> list[str]:
        """Make these machines of a set and say so."""
        ready = await self.boot(node_set, *numbers, pull=pull) if numbers else []
        await self.world.say(
            NodesReady(cluster_id=self.id, generation=self.generation, complete=complete, nodes=tuple(ready))
        )
        return [node.name for node in ready]

    async def boot(self, node_set: str, *numbers: int, pull: bool = False) -> list[ReadyNode]:
        """Make these machines without a word."""
        role = next(s.role for s in ClusterSpec.model_validate(self.spec).node_sets() if s.name == node_set)
        names = [f"{self.name}-{node_set}-a1b2-{number}" for number in numbers]
        made = await self.world.cloud.create(names, await self.user_data(node_set) if pull else None)
        self.machines |= made
        return [
            ReadyNode(
                name=name,
                node_set=node_set,
                role=role,
                machine_id=made[name]["id"],
                address=made[name]["address"],
                connection=Connection.SANDBOX,
                joins_by_itself=pull,
            )
            for name in names
        ]

    async def leave(self, node_set: str, *names: str) -> None:
        """Say that these nodes are to go."""
        nodes = tuple(NodeRef(name=name, node_set=node_set) for name in names)
        await self.world.say(NodesLeaving(cluster_id=self.id, nodes=nodes))

    async def told(self, event_type: type[E]) -> list[E]:
        """What the bootstrapper said of this kind about this cluster, in order."""
        assert self.service
        return await said(self.service.db, event_type, self.id)

    async def until(self, event_type: type[E], *, count: int = 1, within: float = 60.0) -> list[E]:
        """The events of a kind, once there are `count`."""

        async def enough() -> list[E]:
            events = await self.told(event_type)
            return events if len(events) >= count else []

        return await eventually(enough, within=within, saying=f"{count} x {event_type.subject}")

    async def members(self) -> dict[str, bool]:
        """Which machines call themselves members."""
        return {name: (await self.command(name, "inspect"))["member"] for name in self.machines}

    async def command(self, name: str, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a console command."""
        path = f"/v1/machines/{self.machines[name]['id']}/commands"
        answer = await self.world.cloud.call("POST", path, {"command": command, "arguments": arguments})
        result: dict[str, Any] = answer["result"]
        return result


@asynccontextmanager
async def around(nats_url: str, state: Path) -> AsyncIterator[World]:
    """Sandbox cloud and dns. A failed run is not tried again, so that no test hides one."""
    (state / "tmpfs").mkdir()
    common: dict[str, Any] = {"state_dir": state, "nats_url": nats_url}
    sandbox = build_sandbox(
        SandboxSettings(
            state_dir=state,
            http_port=0,
            CARAVAN_SANDBOX_TOKEN=TOKEN,
            network="127.71.0.0/16",
            vm_boot_s=0.05,
            init_s=0.05,
            join_s=0.02,
        )
    )
    dns = build_dns(DnsSettings(**common, zone="null", http_port=free_port()))
    async with sandbox.running(), dns.running() as service:
        yield World(
            service.bus,
            service.keys,
            Cloud(sandbox.url),
            Settings(
                **common,
                sandbox_url=sandbox.url,
                sandbox_token=TOKEN,
                runs_dir=state / "tmpfs",
                poll_s=0.1,
                grace_s=0.3,
                max_attempts=1,
            ),
        )


@pytest.fixture(scope="module")
async def world(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Sandbox cloud and dns, once for all tests."""
    async with around(nats_url, tmp_path_factory.mktemp("bootstrapper-world")) as world:
        yield world


@pytest.fixture
async def lonely_world(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[World]:
    """The same with no other bootstrapper on the bus."""
    async with around(nats_server.url, tmp_path) as world:
        yield world


@pytest.fixture(scope="module")
async def service(world: World) -> AsyncIterator[Service]:
    """A bootstrapper that several tests share."""
    async with world.bootstrapper() as service:
        yield service
