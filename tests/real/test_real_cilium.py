"""Cilium for real, in kube-proxy's place: agents load their eBPF programs; pods, services and names work."""

import pytest
from tests.real.conftest import Fleet
from tests.support.smoke import smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def images(fleet: Fleet) -> None:
    """Cilium's images, which a mirror built from source lacks."""
    wanted = ("cilium-v*.tar", "cilium-operator-generic-v*.tar")
    missing = [name for name in wanted if not list((fleet.mirror / "images").glob(name))]
    if missing:
        pytest.skip(f"CILIUM IS NOT RUN HERE: {fleet.mirror}/images lacks {' and '.join(missing)}")


async def test_cilium_carries_pods_services_and_names_without_kube_proxy(fleet: Fleet) -> None:
    cluster = await fleet.make("ebpf", within=600, network={"cni": "cilium"})
    kubectl = await fleet.kubectl("ebpf")
    assert len(await kubectl.ready_nodes()) == 3
    daemons = {each["metadata"]["name"] for each in await kubectl.get("daemonsets", "-n", "kube-system")}
    assert "cilium" in daemons
    assert "kube-proxy" not in daemons
    await smoke(kubectl)
    agent = ("exec", "-n", "kube-system", "daemonset/cilium", "-c", "cilium-agent", "--")
    lines = (await kubectl(*agent, "cilium-dbg", "status")).splitlines()
    (replacement,) = (line.split() for line in lines if line.startswith("KubeProxyReplacement:"))
    assert replacement[1] == "True"
    await fleet.delete(cluster)
