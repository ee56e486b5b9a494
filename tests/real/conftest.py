"""Real Kubernetes: the released services on a local stack, machines in containers, artifacts from a filled mirror."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caravan_cli.up import Stack, StackError
from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.docker import Docker, find
from tests.support.api import Api, Json
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl

VERSION, OLDER = "1.34.2", "1.33.13"

PROMPT = {
    "CARAVAN_PROVISIONER_REPAIR_AFTER_S": "20",
    "CARAVAN_PROVISIONER_REBOOT_WAIT_S": "0",
    "CARAVAN_BOOTSTRAPPER_GRACE_S": "5",
}
"""Settings that leave a test's time to what it tests."""


@pytest.fixture(scope="package")
def docker() -> Docker:
    """This machine's engine with the node image and a mirror."""
    try:
        return find(Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror()))
    except StackError as error:
        pytest.skip(f"REAL KUBERNETES IS NOT TESTED HERE: {error}")


@pytest.fixture(scope="package")
def stack(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack whose cloud `docker` makes real clusters."""
    with Stack(tmp_path_factory.mktemp("stack"), ports="auto", env=PROMPT, docker=docker) as running:
        yield running


@dataclass
class Fleet:
    """Real clusters, asked for over REST and looked into with kubectl."""

    api: Api
    mirror: Path
    folder: Path

    async def make(self, name: str, *, within: float = 420, **spec: Any) -> Json:
        """A cluster that is Ready and Healthy."""
        wanted = {"version": VERSION, "cloud": "docker", "network": {"cni": "flannel"}, **spec}
        asked = await self.api.create(name, wanted)
        nodes = sum(each["wanted"] for each in asked["node_sets"])
        return await self.api.until_ready(asked["id"], nodes=nodes, within=within)

    async def kubectl(self, cluster: str, role: str = "admin", ttl_s: int = 3600) -> Kubectl:
        """kubectl under a new grant."""
        grant = await self.grant(cluster, role, ttl_s)
        file = self.folder / f"{grant['grant_id']}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(grant["kubeconfig"])
        return Kubectl(self.mirror / "kubernetes" / f"v{VERSION}" / "kubectl", file)

    async def grant(self, cluster: str, role: str = "admin", ttl_s: int = 3600) -> Json:
        """A grant as the API answers it."""
        return await self.api.call("POST", f"/clusters/{cluster}/kubeconfig", {"role": role, "ttl_s": ttl_s})

    async def scale(self, cluster: str, count: int, *, nodes: int) -> Json:
        """So many workers, all joined, the rest gone; `nodes` counts all of the cluster's."""
        await self.api.call("PATCH", f"/clusters/{cluster}/node-sets/workers", {"count": count})
        return await self.until_exactly(cluster, nodes)

    async def until_exactly(self, cluster: str, nodes: int, *, within: float = 240) -> Json:
        """So many nodes, all joined, and no machine more."""
        found = await self.api.until_ready(cluster, nodes=nodes, within=within)

        async def exactly() -> bool:
            return len(await containers(str(found["id"]))) == nodes

        await eventually(exactly, within=60, every=0.5, saying=f"{nodes} machines of {cluster}")
        return found

    async def delete(self, cluster: Json, *, within: float = 120) -> None:
        """Nothing of it is left, containers and network included."""
        await self.api.call("DELETE", f"/clusters/{cluster['id']}")

        async def gone() -> bool:
            return (await self.api.cluster(cluster["id"]))["phase"] == "Deleted" and not await containers(cluster["id"])

        await eventually(gone, within=within, every=0.5, saying=f"{cluster['name']} gone")
        assert not await networks(cluster["id"])

    async def change(self, cluster: str, **spec: Any) -> None:
        """Merge into the spec."""
        headers = {
            "If-Match": (await self.api.cluster(cluster))["etag"],
            "Content-Type": "application/merge-patch+json",
        }
        await self.api.call("PATCH", f"/clusters/{cluster}", {"spec": spec}, headers)

    async def nodes(self, cluster: str) -> list[Json]:
        """The cluster's nodes as the API lists them."""
        return list((await self.api.call("GET", f"/clusters/{cluster}/nodes"))["items"])

    async def timeline(self, cluster: str) -> list[str]:
        """What happened, newest first."""
        answer = await self.api.call("GET", f"/clusters/{cluster}/timeline?limit=200")
        return [entry["text"] for entry in answer["items"]]


@pytest.fixture
async def fleet(stack: Stack, docker: Docker, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Clusters on the stack that all tests share."""
    async with fleet_on(stack, docker, tmp_path) as made:
        yield made


@asynccontextmanager
async def fleet_on(stack: Stack, docker: Docker, folder: Path) -> AsyncIterator[Fleet]:
    """Clusters on a stack; those that a test leaves behind are deleted."""
    async with Api(stack) as api:
        made = Fleet(api, docker.mirror, folder)
        try:
            yield made
        finally:
            left = [one for one in (await api.call("GET", "/clusters"))["items"] if one["phase"] != "Deleted"]
            await asyncio.gather(*(made.delete(one) for one in left))


async def until_step(fleet: Fleet, cluster: str, words: str, *, within: float = 300) -> None:
    """Wait until a run is at a step whose name has these words."""

    async def there() -> bool:
        seen = await fleet.api.cluster(cluster)
        assert seen["phase"] != "Failed", seen["failure"]
        return words in str(seen["step"])

    await eventually(there, within=within, every=0.2, saying=f"a run of {cluster} at `{words}`")


async def container_of(cluster_id: str, node: str) -> str:
    """Id of the node's machine."""
    labels = (f"label=caravan-cluster={cluster_id}", f"label=caravan-name={node}")
    (found,) = (await engine("ps", "--quiet", "--filter", labels[0], "--filter", labels[1])).split()
    return found


async def containers(cluster_id: str) -> list[str]:
    """Ids of the cluster's machines, running or not."""
    return (await engine("ps", "--all", "--quiet", "--filter", f"label=caravan-cluster={cluster_id}")).split()


async def networks(cluster_id: str) -> list[str]:
    """Ids of the cluster's networks."""
    return (await engine("network", "ls", "--quiet", "--filter", f"label=caravan-cluster={cluster_id}")).split()


async def engine(*arguments: str) -> str:
    """One `docker` command; what it prints."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"docker {' '.join(arguments)}: {err.decode()}"
    return out.decode()
