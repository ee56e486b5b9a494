"""Cilium for real, in kube-proxy's place: agents load their eBPF programs; pods, services and names work."""

import pytest

from tests.real.conftest import Fleet
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.smoke import smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


async def test_cilium_carries_pods_services_and_names_without_kube_proxy(fleet: Fleet) -> None:
    cluster = await fleet.make("ebpf", within=600, network={"cni": "cilium"})
    kubectl = await fleet.kubectl("ebpf")
    assert len(await kubectl.ready_nodes()) == 3
    daemons = {each["metadata"]["name"] for each in await kubectl.get("daemonsets", "-n", "kube-system")}
    assert "cilium" in daemons
    assert "kube-proxy" not in daemons
    await smoke(kubectl)
    assert (await agent_status(kubectl))["KubeProxyReplacement"].split()[0] == "True"

    async def fails_at_nothing() -> bool:
        healthy, _, all_ = (await agent_status(kubectl))["Controller Status"].removesuffix(" healthy").partition("/")
        return healthy == all_

    await eventually(fails_at_nothing, within=120, every=2, saying="an agent that fails at nothing")
    await fleet.delete(cluster)


async def agent_status(kubectl: Kubectl) -> dict[str, str]:
    """What an agent says of itself: name to words."""
    agent = ("exec", "-n", "kube-system", "daemonset/cilium", "-c", "cilium-agent", "--")
    lines = (await kubectl(*agent, "cilium-dbg", "status")).splitlines()
    said = (line.partition(":") for line in lines if not line.startswith(" "))
    return {name: words.strip() for name, _, words in said}
