"""Several control planes: none is special, one may die, and etcd may live on nodes of its own."""

import pytest

from tests.real.conftest import Fleet, container_of, engine
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.smoke import smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


async def test_killed_control_plane_of_three_is_replaced_and_the_endpoint_follows(fleet: Fleet) -> None:
    cluster = await fleet.make("stacked", control_plane={"count": 3}, workers=[{"name": "workers", "count": 1}])
    before = {node["name"]: node["address"] for node in await fleet.nodes("stacked") if _controls(node)}
    assert set(cluster["endpoint"]["addresses"]) == set(before.values())

    victim = cluster_first(before)  # the one that kubeadm init ran on, if any: it must not be special
    await engine("kill", await container_of(cluster["id"], victim))
    await eventually(lambda: endpoint_is_without(fleet, before[victim]), within=180, every=1)
    await eventually(lambda: is_replaced(fleet, victim), within=600, every=2)
    cluster = await fleet.api.until_ready(cluster["id"], nodes=4, within=300)

    now = {node["name"]: node["address"] for node in await fleet.nodes("stacked") if _controls(node)}
    assert len(now) == 3
    assert set(before) - set(now) == {victim}
    await eventually(lambda: endpoint_is(fleet, set(now.values())), within=60, every=1)
    kubectl = await fleet.kubectl("stacked")
    # A control plane is a node, and answers, before its member of etcd is there.
    await eventually(lambda: etcd_is_on(kubectl, set(now)), within=180, every=1, saying="a member of etcd on each")
    await smoke(kubectl)
    await fleet.delete(cluster)


async def test_control_planes_share_an_etcd_on_nodes_of_its_own(fleet: Fleet) -> None:
    cluster = await fleet.make(
        "external",
        topology="external",
        etcd={"count": 3, "machine_type": "small"},
        control_plane={"count": 2},
        workers=[{"name": "workers", "count": 1}],
    )
    kubectl = await fleet.kubectl("external")
    assert len(await kubectl.ready_nodes()) == 3
    assert await etcd_pods(kubectl) == set()
    await smoke(kubectl)
    await fleet.delete(cluster)


def cluster_first(nodes: dict[str, str]) -> str:
    """The node that is named first of all when kubeadm starts."""
    return min(nodes)


async def endpoint_is_without(fleet: Fleet, address: str) -> bool:
    return address not in (await fleet.api.cluster("stacked"))["endpoint"]["addresses"]


async def endpoint_is(fleet: Fleet, addresses: set[str]) -> bool:
    return set((await fleet.api.cluster("stacked"))["endpoint"]["addresses"]) == addresses


async def is_replaced(fleet: Fleet, name: str) -> bool:
    nodes = [node for node in await fleet.nodes("stacked") if _controls(node)]
    return len(nodes) == 3 and name not in {node["name"] for node in nodes}


async def etcd_is_on(kubectl: Kubectl, nodes: set[str]) -> bool:
    return await etcd_pods(kubectl) == nodes


async def etcd_pods(kubectl: Kubectl) -> set[str]:
    """Nodes on which an etcd member runs as a pod."""
    pods = await kubectl.get("pods", "--namespace", "kube-system", "--selector", "component=etcd")
    return {pod["spec"]["nodeName"] for pod in pods if pod["status"]["phase"] == "Running"}


def _controls(node: dict[str, str]) -> bool:
    return node["node_set"] == "control-plane"
