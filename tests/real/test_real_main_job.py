"""The main job on real machines: one control plane, workers that come and go, access that ends when it should."""

import pytest
from tests.real.conftest import Fleet
from tests.support.eventually import eventually
from tests.support.kubectl import Kubectl
from tests.support.smoke import smoke

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

SHORTEST_S = 60  # the shortest life that a grant can be asked for
REVOKED_WITHIN_S = 60


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
    await fleet.scale("main", 1, nodes=2)
    assert len(await kubectl.get("nodes")) == 2

    await viewer_may_look_and_no_more(fleet)
    await revoked_grant_is_shut_in_time(fleet)
    await eventually(lambda: refused(short, "nodes"), within=2 * SHORTEST_S, every=1, saying="expired grant refused")
    await fleet.delete(cluster)


async def ready(kubectl: Kubectl, count: int) -> bool:
    return len(await kubectl.ready_nodes()) == count


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
