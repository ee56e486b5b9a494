"""What goes wrong on real machines: a worker dies, a file is not what it should be, a host is too small, we die."""

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from caravan_cli.up import Layout, Stack
from caravan_cli.up.docker import CLOUD, Docker
from tests.real.conftest import VERSION, Fleet, container_of, engine, until_step
from tests.support.api import Api, Json
from tests.support.eventually import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

ONE_TRY = {"CARAVAN_BOOTSTRAPPER_MAX_ATTEMPTS": "1"}
SMALLEST = {"version": VERSION, "cloud": CLOUD, "workers": [], "network": {"cni": "none"}}


@pytest.mark.parametrize(("fault", "told"), [("pause", "{} is Unreachable"), ("kill", "it was killed")])
async def test_dead_worker_is_replaced_whoever_notices(fleet: Fleet, fault: str, told: str) -> None:
    """A frozen machine runs, as far as its engine knows: health alone finds out, once its node's lease has run out."""
    cluster = await fleet.make(f"broken-{fault}", workers=[{"name": "workers", "count": 2}])
    victim = min(node["name"] for node in await fleet.nodes(cluster["name"]) if node["node_set"] == "workers")
    await engine(fault, await container_of(cluster["id"], victim))
    await eventually(lambda: replaced(fleet, cluster["name"], victim), within=400, every=2)
    await fleet.api.until_ready(cluster["id"], nodes=3, within=200)
    timeline = await fleet.timeline(cluster["name"])
    assert any(told.format(victim) in entry or f"{victim} is Unreachable" in entry for entry in timeline), timeline
    await fleet.delete(cluster)


async def test_bootstrapper_killed_in_init_and_in_join_goes_on_where_it_was(fleet: Fleet, stack: Stack) -> None:
    spec = {**SMALLEST, "control_plane": {"count": 3}, "network": {"cni": "flannel"}}
    asked = await fleet.api.create("killed", spec)
    for step in ("first control plane is initialised", "node has joined"):
        await until_step(fleet, "killed", step)
        stack.kill("bootstrapper")
        await asyncio.to_thread(stack.restart, "bootstrapper")
    cluster = await fleet.api.until_ready(asked["id"], nodes=3, within=600)
    kubectl = await fleet.kubectl("killed")
    assert len(await kubectl.ready_nodes()) == 3
    await fleet.delete(cluster)


async def test_file_with_a_wrong_checksum_refuses_the_run_and_is_named(docker: Docker, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    subprocess.run(["cp", "--archive", "--reflink=auto", docker.mirror, mirror], check=True)
    kubelet = mirror / "kubernetes" / f"v{VERSION}" / "kubelet"
    kubelet.write_bytes(b"something else")
    with Stack(tmp_path / "stack", ports="auto", env=ONE_TRY, docker=Docker(docker.gateway, mirror)) as stack:
        failure = await failure_of(stack)
    assert "kubelet" in failure["reason"]
    assert "its SHA-256 is" in failure["reason"]


async def test_host_that_fails_its_checks_is_told_with_every_problem(docker: Docker, tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", ports="auto", env=ONE_TRY, docker=TooSmall(docker.gateway, docker.mirror)) as stack:
        failure = await failure_of(stack)
    assert "memory" in failure["reason"]


@dataclass(frozen=True)
class TooSmall(Docker):
    """An engine whose machines are too small for a control plane."""

    def env(self, layout: Layout) -> dict[str, str]:
        told = super().env(layout)
        clouds = json.loads(told["CARAVAN_PROVISIONER_CLOUDS"])
        clouds[CLOUD]["machine_types"] = {"medium": {"cpus": 2, "memory_mib": 1024}}
        return told | {"CARAVAN_PROVISIONER_CLOUDS": json.dumps(clouds)}


async def failure_of(stack: Stack) -> Json:
    """Why a small cluster on this stack failed; it is deleted again."""
    async with Api(stack) as api:
        asked = await api.create("refused", SMALLEST)

        async def failed() -> bool:
            return bool((await api.cluster(asked["id"]))["phase"] == "Failed")

        await eventually(failed, within=240, every=1)
        failure: Json = (await api.cluster(asked["id"]))["failure"]
        await api.call("DELETE", f"/clusters/{asked['id']}")

        async def gone() -> bool:
            return bool((await api.cluster(asked["id"]))["phase"] == "Deleted")

        await eventually(gone, within=120, every=1)
        return failure


async def replaced(fleet: Fleet, cluster: str, name: str) -> bool:
    return name not in {node["name"] for node in await fleet.nodes(cluster)}
