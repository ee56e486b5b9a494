"""A virtual IP: some control plane carries it, and who uses the cluster notices no more than a pause."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509

from tests.real.conftest import OLDER, VERSION, Fleet, container_of, engine
from tests.support.api import Json
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.smoke import smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(2400)]

PORT = 6443
MOVED_WITHIN_S = 30
HANDED_OVER_WITHIN_S = 15  # the lease is let go of, not run out
FLANNEL = {"cni": "flannel"}
WORKERS = [{"name": "workers", "count": 1}]


async def test_virtual_ip_outlives_the_control_plane_that_carries_it(fleet: Fleet) -> None:
    address = await free_address(fleet)
    cluster = await fleet.make(
        "virtual", control_plane={"count": 3}, workers=WORKERS, network={**FLANNEL, "virtual_ip": address}
    )
    assert cluster["endpoint"]["virtual_ip"] == address
    kubectl = await fleet.kubectl("virtual")
    assert f"server: https://{address}:{PORT}" in kubectl.kubeconfig.read_text()
    assert len(await kubectl.ready_nodes()) == 4
    assert await named(fleet, cluster) == {address}
    await none_is_special(fleet, cluster)

    victim = await carrier(fleet, cluster)
    await engine("kill", await container_of(cluster["id"], victim))
    pause_s = await answered_again(kubectl)
    assert pause_s < MOVED_WITHIN_S
    assert await carrier(fleet, cluster) != victim
    await eventually(lambda: is_replaced(fleet, victim), within=600, every=2)
    cluster = await fleet.api.until_ready(cluster["id"], nodes=4, within=300)
    assert await named(fleet, cluster) == {address}
    await none_is_special(fleet, cluster)

    leaving = await carrier(fleet, cluster)
    async with asking(kubectl) as seen:
        await fleet.api.call("POST", f"/clusters/virtual/nodes/{leaving}/replace", {"reason": "it carries the address"})
        await eventually(lambda: is_replaced(fleet, leaving), within=600, every=2)
        cluster = await fleet.api.until_ready(cluster["id"], nodes=4, within=300)
    assert seen.longest_s < HANDED_OVER_WITHIN_S, seen
    await none_is_special(fleet, cluster)
    await smoke(kubectl)
    await fleet.delete(cluster)


async def test_virtual_ip_answers_through_an_upgrade(fleet: Fleet) -> None:
    address = await free_address(fleet)
    network = {**FLANNEL, "virtual_ip": address}
    cluster = await fleet.make("aging", version=OLDER, control_plane={"count": 3}, workers=[], network=network)
    kubectl = await fleet.kubectl("aging")
    async with asking(kubectl) as seen:
        await fleet.change("aging", version=VERSION)
        await eventually(lambda: runs(fleet, "aging", VERSION), within=1200, every=2, saying=f"every node at {VERSION}")
    assert seen.longest_s < HANDED_OVER_WITHIN_S, seen
    await none_is_special(fleet, await fleet.api.cluster("aging"))
    await fleet.delete(cluster)


async def free_address(fleet: Fleet) -> str:
    """One that a user would choose: high in what the cloud offers, since other clusters' networks begin low."""

    async def offer() -> Json | None:
        with contextlib.suppress(AssertionError):  # a provisioner that has just started has not said it yet
            clouds = (await fleet.api.call("GET", "/clouds"))["items"]
            return next((cloud for cloud in clouds if cloud["cloud"] == "docker"), None)
        return None

    offered = await eventually(offer, within=60, every=0.5, saying="the Docker cloud is on offer")
    return str(ip_network(offered["virtual_ips"][0])[-6])


async def control_planes(fleet: Fleet, cluster: Json) -> dict[str, str]:
    """The control planes' addresses by name."""
    nodes = await fleet.nodes(cluster["name"])
    return {node["name"]: node["address"] for node in nodes if node["node_set"] == "control-plane"}


async def carrier(fleet: Fleet, cluster: Json) -> str:
    """The one control plane that has the virtual IP on an interface; those whose machines are dead have none."""

    async def only_one() -> str | None:
        holding = [name for name in await control_planes(fleet, cluster) if await carries(cluster, name)]
        return holding[0] if len(holding) == 1 else None

    return str(await eventually(only_one, within=60, every=0.5, saying="one control plane carries the virtual IP"))


async def carries(cluster: Json, name: str) -> bool:
    ids = (await engine("ps", "--quiet", "--filter", f"label=caravan-name={name}")).split()
    if not ids:
        return False
    shown = await engine("exec", ids[0], "ip", "-json", "address", "show", "to", str(cluster["endpoint"]["virtual_ip"]))
    return any("ifname" in link for link in json.loads(shown))


async def named(fleet: Fleet, cluster: Json) -> set[str]:
    """What the cluster's own machines are told that its name points at."""
    machine = await container_of(cluster["id"], next(iter(await control_planes(fleet, cluster))))
    said = await engine("exec", machine, "getent", "ahostsv4", cluster["endpoint"]["host"])
    return {line.split()[0] for line in said.splitlines()}


async def none_is_special(fleet: Fleet, cluster: Json) -> None:
    """Every kube-apiserver's certificate names the virtual IP, and every kube-vip has the same credentials."""
    expected = (ip_address(cluster["endpoint"]["virtual_ip"]), cluster["endpoint"]["host"])
    found = await control_planes(fleet, cluster)
    assert len(found) == 3
    for name, address in found.items():
        pem = await asyncio.to_thread(ssl.get_server_certificate, (address, PORT))
        names = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert expected[0] in names.value.get_values_for_type(x509.IPAddress)
        assert expected[1] in names.value.get_values_for_type(x509.DNSName)
        machine = await container_of(cluster["id"], name)
        manifest = await engine("exec", machine, "cat", "/etc/kubernetes/manifests/kube-vip.yaml")
        assert "path: /etc/kubernetes/admin.conf" in manifest


async def answered_again(kubectl: Kubectl) -> float:
    """Seconds until somebody answers under the kubeconfig."""
    began = time.monotonic()
    await eventually(lambda: answers(kubectl), within=2 * MOVED_WITHIN_S, every=0.2, saying="the virtual IP answers")
    return time.monotonic() - began


async def answers(kubectl: Kubectl) -> bool:
    return (await kubectl.run("get", "--raw", "/readyz", "--request-timeout=2s")).code == 0


async def is_replaced(fleet: Fleet, name: str) -> bool:
    nodes = [node for node in await fleet.nodes("virtual") if node["node_set"] == "control-plane"]
    return len(nodes) == 3 and name not in {node["name"] for node in nodes}


async def runs(fleet: Fleet, cluster: str, version: str) -> bool:
    seen = await fleet.api.cluster(cluster)
    assert seen["phase"] != "Failed", seen["failure"]
    return seen["version"] == version and seen["phase"] == "Ready"


@dataclass
class Pauses:
    """When nobody answered, in seconds from the last answer to the next; those below a second are not kept."""

    kept: list[float] = field(default_factory=list)

    @property
    def longest_s(self) -> float:
        return max(self.kept, default=0.0)


@asynccontextmanager
async def asking(kubectl: Kubectl) -> AsyncIterator[Pauses]:
    """Ask under the kubeconfig about twice a second, each time over a new connection, for as long as the block runs."""
    seen = Pauses()

    async def ask_again_and_again() -> None:
        last, failed = time.monotonic(), False
        while True:
            if await answers(kubectl):
                if failed:
                    seen.kept.append(round(time.monotonic() - last, 1))
                last, failed = time.monotonic(), False
            else:
                failed = True
            await asyncio.sleep(0.3)

    task = asyncio.create_task(ask_again_and_again())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
