"""A node replaced, a cluster paused, an upgrade over several minors: asked for over REST, announced until it is so."""

from functools import partial
from typing import Any

from caravan_shared.contracts import events as e
from tests.integration.api.conftest import Stack, gone_facts
from tests.integration.api.test_api_clusters import announced
from tests.support.eventually import eventually


def worker(cluster: dict[str, Any], number: int = 0) -> dict[str, str]:
    return {"name": f"{cluster['name']}-workers-{number}", "node_set": "workers"}


def path_of(cluster: dict[str, Any], node: dict[str, str]) -> str:
    return f"/v1/clusters/{cluster['id']}/nodes/{node['name']}/replace"


async def node_shown(stack: Stack, cluster: dict[str, Any], name: str) -> dict[str, Any]:
    items = (await stack.http.get(f"/v1/clusters/{cluster['id']}/nodes")).json()["items"]
    found: dict[str, Any] = next(item for item in items if item["name"] == name)
    return found


async def texts(stack: Stack, cluster: dict[str, Any]) -> list[str]:
    timeline = (await stack.http.get(f"/v1/clusters/{cluster['id']}/timeline")).json()["items"]
    return [entry["text"] for entry in timeline]


async def test_node_is_announced_as_to_be_replaced_until_it_is_gone(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    node = worker(cluster)
    answer = await stack.http.post(path_of(cluster, node), json={"reason": "its disk is slow"})
    assert (answer.status_code, answer.json()["phase"]) == (202, "Updating")
    assert answer.json()["replacing"] == [node["name"]]
    assert answer.json()["step"]["text"] == f"replacing {node['name']}"
    assert answer.json()["generation"] == cluster["generation"], "the spec is what it was"
    said = await announced(stack, cluster, such=lambda said: bool(said["replace"]))
    assert said["replace"] == [node["name"]]
    asked = f"asked to replace {node['name']}: its disk is slow"
    assert any(text.endswith(asked) for text in await texts(stack, cluster))
    assert (await stack.http.post(path_of(cluster, node))).status_code == 200
    await stack.tell(
        e.NodesRemoved.model_validate({"cluster_id": cluster["id"], "remaining": 3, "nodes": [node]}),
    )
    ready = await stack.phase(cluster, "Ready")
    assert ready["replacing"] == []
    assert (await stack.http.post(path_of(cluster, node))).status_code == 404


async def test_same_key_replaces_once_and_another_request_with_it_is_refused(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    headers = {"Idempotency-Key": f"replace-{cluster['id']}"}
    first = await stack.http.post(path_of(cluster, worker(cluster)), headers=headers)
    again = await stack.http.post(path_of(cluster, worker(cluster)), headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    other = await stack.http.post(path_of(cluster, worker(cluster, 1)), headers=headers)
    assert other.status_code == 422


async def test_node_that_leaves_or_was_never_there_cannot_be_replaced(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    node = worker(cluster)
    await stack.tell(e.NodesLeaving.model_validate({"cluster_id": cluster["id"], "nodes": [node]}))

    async def leaves() -> bool:
        return bool((await node_shown(stack, cluster, node["name"]))["state"] == "Leaving")

    await eventually(leaves)
    assert (await stack.http.post(path_of(cluster, node))).status_code == 409
    assert (await stack.http.post(path_of(cluster, {"name": "no-such-node"}))).status_code == 404
    await stack.http.delete(f"/v1/clusters/{cluster['id']}")
    assert (await stack.http.post(path_of(cluster, worker(cluster, 1)))).status_code == 409
    await stack.tell(*gone_facts(cluster))


async def test_what_holds_a_node_stands_in_its_record_and_the_timeline_until_nothing_does(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    node, reason = worker(cluster), "more than 40% of workers are unreachable at once"

    async def held(expected: str | None) -> bool:
        return bool((await node_shown(stack, cluster, node["name"]))["held"] == expected)

    for told in (reason, ""):
        event = {"cluster_id": cluster["id"], "nodes": [{**node, "reason": told}]}
        await stack.tell(e.NodesRepairHeld.model_validate(event))
        await eventually(partial(held, told or None), saying=f"held by {told!r}")
    assert f"Not replaced yet: {node['name']}: {reason}" in await texts(stack, cluster)


async def test_paused_cluster_says_so_and_is_announced_as_such(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['id']}"
    pause = {"spec": {"paused": True, "drain": {"force": True, "timeout_s": 60}}}
    paused = await stack.http.patch(path, json=pause, headers={"If-Match": cluster["etag"]})
    assert paused.status_code == 202
    assert paused.json()["spec"]["drain"] == {"timeout_s": 60, "force": True}
    assert paused.json()["step"]["text"].startswith("paused")
    await announced(stack, cluster, such=lambda said: said["spec"]["paused"])
    headers = {"If-Match": paused.json()["etag"]}
    resumed = await stack.http.patch(path, json={"spec": {"paused": None}}, headers=headers)
    assert not resumed.json()["spec"]["paused"]
    told = " ".join(await texts(stack, cluster))
    assert "resumed the cluster" in told


async def test_upgrade_over_several_minors_is_planned_hop_by_hop(stack: Stack) -> None:
    cluster = await stack.create(version="1.33.6")
    change = {"action": "change", "cluster": cluster["id"], "spec": {"version": "1.35.1"}}
    answer = await stack.http.post("/v1/plans", json=change)
    assert answer.json()["upgrade"] == "1.33.6 → 1.34.2 → 1.35.1"
