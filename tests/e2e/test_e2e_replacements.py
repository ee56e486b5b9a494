"""Nodes of a running cluster replaced through all five services, one of the control plane among them."""

import pytest

from tests.support.api import SMALL, Api, Json
from tests.support.eventually import eventually


async def _nodes(api: Api, cluster: str) -> dict[str, Json]:
    items = (await api.call("GET", f"/clusters/{cluster}/nodes"))["items"]
    return {node["name"]: node for node in items}


@pytest.mark.long
async def test_worker_and_control_plane_are_replaced_while_the_cluster_runs(api: Api) -> None:
    spec = {**SMALL, "control_plane": {"count": 3, "machine_type": "small"}}
    cluster = await api.create("swap", spec)
    await api.until_ready(cluster["id"], nodes=5)
    before = await _nodes(api, cluster["id"])
    old = [min(name for name, node in before.items() if node["role"] == role) for role in ("control-plane", "worker")]
    for name in old:
        asked = await api.call("POST", f"/clusters/{cluster['id']}/nodes/{name}/replace", {"reason": "a test"})
        assert name in asked["replacing"]

    async def replaced() -> bool:
        now = await api.call("GET", f"/clusters/{cluster['id']}")
        return now["phase"] == "Ready" and not now["replacing"] and now["nodes"]["ready"] == 5

    await eventually(replaced, within=60)
    after = await _nodes(api, cluster["id"])
    assert len(after) == 5
    assert not after.keys() & set(old)
    await api.call("DELETE", f"/clusters/{cluster['id']}")
    await api.until_gone(cluster["id"])
