"""The main job through all five services: asked for over REST or by an event, seen with the kubernetes client."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import dns.asyncquery
import dns.message
import dns.rcode
import nats
import pytest
from kubernetes.client.exceptions import ApiException

from caravan_cli.up import Stack
from tests.support.api import SMALL, Api, Json
from tests.support.eventually import eventually
from tests.support.kube_client import core_v1


async def _kubeconfig(api: Api, cluster: str, role: str = "admin") -> str:
    answer = await api.call("POST", f"/clusters/{cluster}/kubeconfig", {"role": role, "ttl_s": 3600})
    return str(answer["kubeconfig"])


async def _node_names(kubeconfig: str) -> set[str]:
    nodes = await asyncio.to_thread(lambda: core_v1(kubeconfig).list_node().items)
    return {node.metadata.name for node in nodes}


async def _versions(kubeconfig: str) -> set[str]:
    nodes = await asyncio.to_thread(lambda: core_v1(kubeconfig).list_node().items)
    return {node.status.node_info.kubelet_version for node in nodes}


async def _resolve(stack: Stack, host: str) -> tuple[int, list[str]]:
    question = dns.message.make_query(host, "A")
    answer = await dns.asyncquery.udp(question, "127.0.0.1", port=stack.layout.ports.zone, timeout=5)
    return answer.rcode(), [record.address for rrset in answer.answer for record in rrset]


async def _scale(api: Api, cluster: str, count: int) -> None:
    await api.call("PATCH", f"/clusters/{cluster}/node-sets/workers", {"count": count})


async def _change(api: Api, cluster: Json, **spec: Any) -> None:
    headers = {"If-Match": cluster["etag"], "Content-Type": "application/merge-patch+json"}
    await api.call("PATCH", f"/clusters/{cluster['id']}", {"spec": spec}, headers)


async def test_cluster_lives_from_request_to_deletion(stack: Stack, api: Api) -> None:
    asked = await api.create("life", {**SMALL, "version": "1.33.6"})
    cluster = await api.until_ready(asked["id"], nodes=3)
    assert cluster["simulated"], "whoever reads it must see that it is a sandbox's"
    host = cluster["endpoint"]["host"]
    assert await _resolve(stack, host) == (dns.rcode.NOERROR, cluster["endpoint"]["addresses"])

    kubeconfig = await _kubeconfig(api, "life")
    first = await _node_names(kubeconfig)
    assert len(first) == 3

    await _scale(api, "life", 4)
    await api.until_ready(asked["id"], nodes=5)
    assert await _node_names(kubeconfig) > first

    await _scale(api, "life", 1)
    cluster = await api.until_ready(asked["id"], nodes=2)
    assert len(await _node_names(kubeconfig)) == 2
    await api.until_exactly(asked["id"], 2)

    await _change(api, cluster, version="1.34.2")

    async def upgraded() -> bool:
        return (await api.cluster("life"))["version"] == "1.34.2"

    await eventually(upgraded, within=60)
    assert await _versions(kubeconfig) == {"v1.34.2"}

    await api.call("DELETE", "/clusters/life")
    await api.until_gone(asked["id"])
    assert (await _resolve(stack, host))[0] == dns.rcode.NXDOMAIN


async def test_viewer_may_look_and_not_delete(api: Api) -> None:
    asked = await api.create("roles", {**SMALL, "workers": [{"name": "workers", "count": 1}]})
    await api.until_ready(asked["id"], nodes=2, healthy=False)
    viewer = core_v1(await _kubeconfig(api, "roles", "viewer"))
    names = [item.metadata.name for item in (await asyncio.to_thread(viewer.list_namespace)).items]
    assert "kube-system" in names
    assert len((await asyncio.to_thread(viewer.list_node)).items) == 2
    with pytest.raises(ApiException) as refused:
        await asyncio.to_thread(viewer.delete_namespace, "default")
    assert refused.value.status == 403

    grants = await api.call("GET", "/clusters/roles/grants")
    await api.call("DELETE", f"/clusters/roles/grants/{grants['items'][0]['grant_id']}")
    with pytest.raises(ApiException) as revoked:
        await asyncio.to_thread(viewer.list_namespace)
    assert revoked.value.status in {401, 403}

    await api.call("DELETE", "/clusters/roles")
    await api.until_gone(asked["id"])


@pytest.mark.long
async def test_external_etcd_and_several_control_planes(api: Api) -> None:
    spec = {**SMALL, "topology": "external", "control_plane": {"count": 2}, "etcd": {"count": 3}}
    asked = await api.create("wide", spec)
    await api.until_ready(asked["id"], nodes=7)

    async def both_lead_there() -> bool:
        return len((await api.cluster("wide"))["endpoint"]["addresses"]) == 2

    await eventually(both_lead_there)
    await api.call("DELETE", "/clusters/wide")
    await api.until_gone(asked["id"])


async def test_team_asks_by_event_and_is_answered(stack: Stack, api: Api) -> None:
    request_id, name = f"build-{uuid4().hex[:8]}", "by-event"
    team = await nats.connect(stack.accounts.team_url("default"))
    answers = await team.subscribe("progress.default.cluster.accepted")
    phases = await team.subscribe("progress.default.cluster.phase_changed")
    body = json.dumps({"request_id": request_id, "name": name, "spec": SMALL}).encode()
    for _ in range(2):  # the same request twice is one cluster
        stored = json.loads((await team.request("cluster.requested", body, timeout=5)).data)
        assert stored["stream"] == "INTAKE_default"

    accepted = json.loads((await answers.next_msg(10)).data)
    assert (accepted["request_id"], accepted["name"]) == (request_id, name)
    await api.until_ready(accepted["cluster_id"], nodes=3, healthy=False)
    listed = await api.call("GET", "/clusters?q=by-event")
    assert len(listed["items"]) == 1

    await api.call("DELETE", f"/clusters/{name}")
    await api.until_gone(accepted["cluster_id"])
    own: list[str] = []
    while "Deleted" not in own:  # the row says it before the event does
        told = json.loads((await phases.next_msg(10)).data)
        own += [told["phase"]] if told["cluster_id"] == accepted["cluster_id"] else []
    assert own.index("Ready") < own.index("Deleting")
    await team.close()


async def test_bad_request_by_event_is_answered_field_by_field(stack: Stack) -> None:
    team = await nats.connect(stack.accounts.team_url("default"))
    answers = await team.subscribe("progress.default.cluster.rejected")
    bad = {"request_id": "bad-1", "name": "Not A Label", "spec": {**SMALL, "control_plane": {"count": 2}}}
    await team.request("cluster.requested", json.dumps(bad).encode(), timeout=5)
    rejected = json.loads((await answers.next_msg(10)).data)
    assert {problem["field"] for problem in rejected["problems"]} == {"name", "spec.control_plane.count"}
    await team.close()
