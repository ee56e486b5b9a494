"""The main job on real machines: one control plane, workers that come and go, access that ends when it should."""

import asyncio

import pytest

from tests.real.conftest import Fleet
from tests.support import smoke_image
from tests.support.api import Json
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.smoke import load_image, smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

SHORTEST_S = 60  # the shortest life that a grant can be asked for
REVOKED_WITHIN_S = 60

PROTECTED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: protected}
spec:
  replicas: 4
  selector: {matchLabels: {app: protected}}
  template:
    metadata: {labels: {app: protected}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {labelSelector: {matchLabels: {app: protected}}, topologyKey: kubernetes.io/hostname}
      containers:
        - {name: protected, image: %(image)s, imagePullPolicy: Never}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: protected}
spec: {minAvailable: 4, selector: {matchLabels: {app: protected}}}
"""
"""A pod on each of four workers, of which none may go."""


async def test_cluster_lives_from_request_to_deletion(fleet: Fleet) -> None:
    cluster = await fleet.make("main")
    assert not cluster["simulated"]
    short = await fleet.kubectl("main", ttl_s=SHORTEST_S)
    await short("get", "nodes")

    kubectl = await fleet.kubectl("main")
    assert len(await kubectl.ready_nodes()) == 3
    await smoke(kubectl)
    await fleet.scale("main", 4, nodes=5)
    await eventually(lambda: ready(kubectl, 5), within=60, every=1)
    await budget_holds_a_drain_until_it_is_overruled(fleet, kubectl)
    assert len(await kubectl.get("nodes")) == 2

    await viewer_may_look_and_no_more(fleet)
    await revoked_grant_is_shut_in_time(fleet)
    await eventually(lambda: refused(short, "nodes"), within=2 * SHORTEST_S, every=1, saying="expired grant refused")
    await fleet.delete(cluster)


async def ready(kubectl: Kubectl, count: int) -> bool:
    return len(await kubectl.ready_nodes()) == count


async def budget_holds_a_drain_until_it_is_overruled(fleet: Fleet, kubectl: Kubectl) -> None:
    """Four workers become one."""
    await asyncio.gather(*(load_image(node) for node in await kubectl.get("nodes")))
    await kubectl.apply(PROTECTED % {"image": smoke_image.tag()})
    await kubectl("rollout", "status", "deployment/protected", "--timeout=60s", within=70)
    await fleet.change("main", drain={"timeout_s": 10})
    await fleet.api.until_ready("main", nodes=5)
    await fleet.api.call("PATCH", "/clusters/main/node-sets/workers", {"count": 1})

    async def told() -> Json | None:
        return (await fleet.api.cluster("main"))["failure"]

    failure = await eventually(told, within=90, every=0.5, saying="the user is told of the budget")
    assert "PodDisruptionBudget default/protected" in failure["reason"]
    assert "drain.force" in failure["reason"]
    assert failure["who_can_fix"] == "user"
    assert len(await kubectl.get("nodes")) == 5, "none leaves whose pods may not go"

    await fleet.change("main", drain={"timeout_s": 10, "force": True})
    await fleet.until_exactly("main", 2)


async def refused(kubectl: Kubectl, resource: str) -> bool:
    answer = await kubectl.run("get", resource)
    return answer.code != 0 and ("Unauthorized" in answer.err or "orbidden" in answer.err or "logged in" in answer.err)


async def viewer_may_look_and_no_more(fleet: Fleet) -> None:
    viewer = await fleet.kubectl("main", role="viewer")
    await viewer("get", "pods", "--all-namespaces")
    answer = await viewer.run("delete", "pods", "--all", "--namespace", "kube-system")
    assert answer.code != 0
    assert "forbidden" in answer.err


async def revoked_grant_is_shut_in_time(fleet: Fleet) -> None:
    editor = await fleet.kubectl("main", role="editor")
    await editor("get", "pods")
    grant = editor.kubeconfig.stem
    await fleet.api.call("DELETE", f"/clusters/main/grants/{grant}")
    await eventually(
        lambda: refused(editor, "pods"), within=REVOKED_WITHIN_S, every=0.5, saying="revoked grant refused"
    )
