"""Watching a cluster that kubeadm made in the sandbox, with the rights that the playbooks grant."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from caravan_health.probe import Prober, open_door
from caravan_health.settings import Settings
from caravan_health.smoke import look_at
from caravan_health.target import Target
from caravan_sandbox.app import Sandbox
from caravan_shared.contracts.states import Verdict
from tests.integration.health.conftest import Watching, watching
from tests.support.authority import Authority
from tests.support.eventually import eventually
from tests.support.sandbox import CloudClient, Made, sandbox_settings
from tests.support.tls import certificate_for_health

RBAC = Path(__file__).parents[3] / "playbooks" / "manifests" / "rbac.yaml"
NODES = frozenset({"cp-1", "w-1", "w-2"})


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    """One control plane and two workers, as far as site.yml takes them."""
    settings = sandbox_settings(tmp_path / "sandbox", node_grace_s=0.3)
    async with Sandbox(settings).running() as sandbox, aiohttp.ClientSession() as http:
        made = Made(CloudClient(sandbox.url, http), Authority())
        await made.init("cp-1")
        await made.add_workers("w-1", "w-2")
        await made.cloud.run(made.ids["cp-1"], "apply", manifests=RBAC.read_text())
        yield made


def target_of(made: Made) -> Target:
    at = made.authority
    return Target(uuid4(), 1, at.host, at.port, (made.address,), at.ca_cert, nodes=NODES, joined=NODES)


@contextlib.asynccontextmanager
async def watched(settings: Settings, made: Made) -> AsyncIterator[tuple[Watching, Target]]:
    target = target_of(made)
    async with watching(settings, certificate_for_health(made.authority)) as running:
        running.follow(target)
        await running.until(Verdict.HEALTHY, target)
        yield running, target


async def fault(made: Made, kind: str, **where: str) -> None:
    status, body = await made.cloud.call("POST", "/v1/faults", {"kind": kind, "times": 10_000, **where})
    assert status < 300, body


async def test_cluster_and_nodes_are_healthy(settings: Settings, made: Made) -> None:
    async with watched(settings, made) as (running, _):
        assert running.nodes == dict.fromkeys(NODES, Verdict.HEALTHY)


async def test_node_without_power_is_unreachable_and_degrades_its_cluster(settings: Settings, made: Made) -> None:
    async with watched(settings, made) as (running, target):
        await made.cloud.call("POST", f"/v1/machines/{made.ids['w-2']}/power", {"on": False})
        await running.until(Verdict.DEGRADED, target)
        assert running.nodes["w-2"] is Verdict.UNREACHABLE


async def test_removed_node_is_no_longer_registered(settings: Settings, made: Made) -> None:
    async with watched(settings, made) as (running, _):
        await made.cloud.run(made.ids["cp-1"], "remove-node", node="w-2")
        await eventually(lambda: running.nodes["w-2"] is Verdict.UNKNOWN)


@pytest.mark.parametrize(
    ("kind", "where", "verdict"),
    [
        ("apiserver_hang", {}, Verdict.UNREACHABLE),
        ("apiserver_503", {}, Verdict.DEGRADED),
        ("readyz_failure", {"component": "etcd"}, Verdict.DEGRADED),
    ],
)
async def test_fault_of_the_apiserver_is_told_as_it_is(
    settings: Settings, made: Made, kind: str, where: dict[str, str], verdict: Verdict
) -> None:
    async with watched(settings, made) as (running, target):
        await fault(made, kind, **where)
        await running.until(verdict, target)


async def test_control_plane_without_power_is_unreachable(settings: Settings, made: Made) -> None:
    async with watched(settings, made) as (running, target):
        await made.cloud.call("POST", f"/v1/machines/{made.ids['cp-1']}/power", {"on": False})
        await running.until(Verdict.UNREACHABLE, target)


async def test_second_control_plane_answers_for_the_first(settings: Settings, made: Made) -> None:
    await made.add_control_plane("cp-2")
    async with watched(settings, made) as (running, target):
        running.watch.retarget(replace(target, version=2, addresses=(made.address, made.addresses["cp-2"])))
        await made.cloud.call("POST", f"/v1/machines/{made.ids['cp-1']}/power", {"on": False})
        await running.until(Verdict.DEGRADED, target)
        assert not running.ever(Verdict.UNREACHABLE)


async def test_smoke_test_with_the_rights_of_health_finds_a_whole_cluster_fit(settings: Settings, made: Made) -> None:
    door = open_door(target_of(made), certificate_for_health(made.authority))
    async with Prober(timeout_s=2, nodes_timeout_s=5, reuse=False) as prober:
        assert await look_at(prober, door, 3) == []
        await made.cloud.call("POST", f"/v1/machines/{made.ids['w-2']}/power", {"on": False})

        async def found() -> bool:
            return await look_at(prober, door, 3) == ["2 nodes are Ready where there should be 3"]

        await eventually(found)
