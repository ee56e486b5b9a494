"""A provisioner at work on a real OpenStack: a cluster's whole life, once in peace and once killed at every turn.

Machines are reached at floating IPs, or boot from volumes with a balancer before the control planes, so that each has
one of everything that can be left behind.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_server import tag
from caravan_provisioner.settings import Settings
from caravan_provisioner.store import Table
from caravan_shared.contracts.events import NodesFailed, NodesLeaving, NodesReady, NodesRemoved
from caravan_shared.plumbing.database import Database
from tests.integration.provisioner.conftest import Around, Asker, Provisioner, around
from tests.openstack.conftest import NO_CINDER, NO_OCTAVIA, PATIENCE_S, Project, ensure_offered
from tests.support.nats import NatsServer
from tests.support.openstack_proxy import Proxy
from tests.support.ports import free_port

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1800)]

__all__ = ["around"]  # a fixture of the provisioner's own tests


@dataclass(frozen=True, slots=True)
class Beside:
    """What machines have beside them in a cloud that is configured so."""

    needs: dict[str, str]
    """Services, and the reason to skip where the cloud lacks one."""
    config: dict[str, Any]
    made: dict[str, int]
    """For a control plane and two workers, of each kind."""
    calls: list[str]
    """That make and remove all of it."""


CALLS = [
    r"^POST .*/os-server-groups$",
    r"^POST .*/servers$",
    r"^POST .*/servers$",
    r"^DELETE .*/servers/",
    r"^DELETE .*/os-server-groups/",
]
FLOATING_IPS = Beside(
    needs={},
    config={},
    made={"servers": 3, "ports": 3, "floating IPs": 3, "server groups": 1},
    calls=[*CALLS, r"^POST .*/floatingips$", r"^DELETE .*/floatingips/"],
)
BALANCER_AND_VOLUMES = Beside(
    needs={"load-balancer": NO_OCTAVIA, "block-storage": NO_CINDER},
    config={"load_balancer": True, "boot_volume_gib": 1, "floating_network": None},
    made={"servers": 3, "volumes": 3, "load balancers": 1, "server groups": 1},
    calls=[*CALLS, r"^POST .*/loadbalancers$", r"^DELETE .*/loadbalancers/"],
)


@pytest.fixture
def beside() -> Beside:
    """Floating IPs, unless the test says otherwise."""
    return FLOATING_IPS


@pytest.fixture
def settings(
    openstack_config: OpenStackConfig, beside: Beside, floating_network: str, proxy: Proxy, nats_server: NatsServer,
    tmp_path: Path, installation: str,
) -> Settings:  # fmt: skip
    """A provisioner whose only cloud is the one behind the proxy."""
    behind = {"clouds_file": proxy.clouds_file, "floating_network": floating_network, **beside.config}
    return Settings(
        state_dir=tmp_path,
        nats_url=nats_server.url,
        http_port=free_port(),
        installation=installation,
        clouds={"sandbox": openstack_config.model_copy(update=behind)},  # the name that specs have by default
        settle_s=10,
        calm_listing_s=5,
        backoff_s=1,
        resync_every_s=2,
        sweep_every_s=15,
    )


@pytest.fixture
async def before(project: Project, installation: str) -> AsyncIterator[dict[str, int]]:
    """What the project had. Whatever a failed test leaves is removed afterwards, past the code under test."""
    yield await project.counts()
    for server in await servers(project, installation):
        await project.api.delete("compute", f"/servers/{server['id']}")
    for floating in await project.api.pages("network", "/floatingips"):
        if installation in floating["description"]:
            await project.api.delete("network", f"/floatingips/{floating['id']}")
    if await project.api.endpoint("load-balancer"):
        for balancer in await project.api.pages("load-balancer", "/lbaas/loadbalancers"):
            if installation in balancer["description"]:
                await project.api.delete("load-balancer", f"/lbaas/loadbalancers/{balancer['id']}?cascade=true")
    for group in await project.api.pages("compute", "/os-server-groups"):
        if installation in group["name"]:
            await project.api.delete("compute", f"/os-server-groups/{group['id']}")


async def servers(project: Project, installation: str) -> list[dict[str, Any]]:
    return await project.api.pages("compute", "/servers/detail", {"tags": tag(installation)})


def gone(events: list[NodesRemoved]) -> bool:
    return any(event.remaining == 0 for event in events)


def names(events: list[NodesRemoved] | list[NodesLeaving] | list[NodesFailed]) -> set[str]:
    return {node.name for event in events for node in event.nodes}


async def test_cluster_is_made_scaled_mended_and_gone_without_a_trace(
    around: Around, settings: Settings, proxy: Proxy, project: Project, installation: str, before: dict[str, int]
) -> None:
    provisioner = Provisioner(around, settings)
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        asker.patience_s = PATIENCE_S
        await asker.want(workers=5, control_plane=3)
        nodes = await asker.made(1)
        assert {node_set: len(of_set) for node_set, of_set in nodes.items()} == {"control-plane": 3, "workers": 5}
        everyone = [node for of_set in nodes.values() for node in of_set]
        assert len({node.host_keys for node in everyone}) == len({node.address for node in everyone}) == 8
        assert sorted(node.name for node in everyone) == sorted(
            server["name"] for server in await servers(project, installation)
        )
        counts = await project.counts()
        made = {"servers": 8, "ports": 8, "floating IPs": 8, "server groups": 1}
        assert {kind: counts[kind] - before[kind] for kind in made} == made

        lost = nodes["workers"][0]
        await project.api.delete("compute", f"/servers/{lost.machine_id}")
        await asker.until_told(NodesFailed, lambda events: lost.name in names(events))
        await asker.until_told(NodesLeaving, lambda events: lost.name in names(events))
        await asker.drain_leaving()
        await asker.until_told(NodesReady, lambda events: events[-1].complete and len(events) > 1)

        await asker.want(workers=7, control_plane=3)
        await asker.made(2)
        await asker.want(workers=4, control_plane=3)
        await asker.until_told(NodesLeaving, lambda events: len(names(events)) == 4)
        await asker.drain_leaving()
        await asker.until_told(NodesRemoved, lambda events: len(names(events)) == 4)
        assert len(await servers(project, installation)) == 7

        await asker.delete()
        await asker.until_told(NodesRemoved, gone)
        await project.until(before)
    assert proxy.count(r"^GET .*/servers/(?!detail)") == 0  # pages alone, however many machines there are


@dataclass
class Mortal:
    """A provisioner as a process of its own, started again whenever it dies."""

    settings: Settings
    deaths: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None)

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self._process
        if self._process.returncode is None:
            self._process.kill()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep it alive for as long as the context lasts."""
        work = asyncio.create_task(self._keep_alive())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.kill()
            assert self._process
            await self._process.wait()

    async def _keep_alive(self) -> None:
        told = self.settings.model_dump(mode="json", exclude_unset=True)
        told["clouds"] = {name: cloud.model_dump(mode="json") for name, cloud in self.settings.clouds.items()}
        variables = {
            f"CARAVAN_PROVISIONER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in told.items()
        }
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "caravan_provisioner", env=os.environ | variables
            )
            await self._process.wait()
            self.deaths += 1


@pytest.mark.parametrize("beside", [FLOATING_IPS, BALANCER_AND_VOLUMES], ids=["floating-ips", "balancer-and-volumes"])
async def test_process_killed_after_every_kind_of_call_leaves_nothing_and_makes_nothing_twice(
    around: Around, settings: Settings, beside: Beside, openstack_config: OpenStackConfig, proxy: Proxy,
    project: Project, installation: str, before: dict[str, int],
) -> None:  # fmt: skip
    for service, reason in beside.needs.items():
        await ensure_offered(openstack_config, service, reason)
    db = Database(settings.database_url, Table.metadata, MIGRATIONS)
    await db.start()
    asker = Asker(around, SimpleNamespace(db=db), uuid4(), f"c{uuid4().hex[:6]}")  # type: ignore[arg-type]
    asker.patience_s = PATIENCE_S
    mortal = Mortal(settings)
    faults = [proxy.fault(pattern, then=mortal.kill) for pattern in beside.calls]
    async with mortal.running():
        await asker.want(workers=2, control_plane=1)
        nodes = await asker.made(1)
        made = sorted(node.name for of_set in nodes.values() for node in of_set)
        assert sorted(server["name"] for server in await servers(project, installation)) == made
        counts = await project.counts()
        assert {kind: counts[kind] - before[kind] for kind in beside.made} == beside.made
        await asker.delete()
        await asker.until_told(NodesRemoved, gone)
        await project.until(before)
    assert [fault.times for fault in faults] == [0] * len(beside.calls)
    assert mortal.deaths >= len(beside.calls) - 1  # two calls of one moment may share a death
    await db.stop()
