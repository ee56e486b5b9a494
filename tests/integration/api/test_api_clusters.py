"""Clusters over REST: from the request to Ready, changed, retried, deleted, and its name free again."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from nats.js.errors import NotFoundError

from caravan_api.store import Cluster
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh, gone_facts, ready_facts, running
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

LOOKED_THROUGH = 300
"""Facts, from the last one back: those of other tests' clusters come in between."""


async def announced(
    stack: Stack,
    cluster: dict[str, Any],
    subject: str = "cluster.requested",
    such: Callable[[dict[str, Any]], bool] = bool,
) -> dict[str, Any]:
    """The newest announcement of a cluster on the bus, once it is such a one."""

    async def look() -> dict[str, Any] | None:
        said = await _newest(stack, cluster, subject)
        return said if said and such(said) else None

    return await eventually(look)


async def _newest(stack: Stack, cluster: dict[str, Any], subject: str) -> dict[str, Any] | None:
    js = stack.service.bus.js
    try:
        last = (await js.get_last_msg("FACTS", subject)).seq or 0
    except NotFoundError:
        return None
    for sequence in range(last, max(last - LOOKED_THROUGH, 0), -1):
        message = await js.get_msg("FACTS", sequence)
        body: dict[str, Any] = json.loads(message.data or b"{}") if message.subject == subject else {}
        if body.get("cluster_id") == cluster["id"]:
            return body
    return None


async def test_a_request_is_stored_told_and_shown(stack: Stack) -> None:
    name = fresh()
    answer = await stack.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example})
    cluster = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/clusters/{cluster['id']}"
    assert answer.headers["ETag"] == cluster["etag"]
    assert (cluster["name"], cluster["team"], cluster["phase"]) == (name, "default", "Requested")
    assert cluster["nodes"] == {"wanted": 3, "creating": 0, "made": 0, "joined": 0, "ready": 0, "failed": 0}
    assert cluster["simulated"]
    assert (await stack.http.get(f"/v1/clusters/{name}")).json()["id"] == cluster["id"]
    said = await announced(stack, cluster)
    assert (said["generation"], said["name"], said["team"]) == (1, name, "default")


async def test_facts_lead_to_ready_with_counters_endpoint_and_health(stack: Stack) -> None:
    cluster = await stack.create()
    await stack.make_ready(cluster)

    async def healthy() -> dict[str, Any] | None:
        now = await stack.get(cluster)
        return now if now["nodes"]["ready"] == 3 else None

    now = await eventually(healthy)
    assert now["nodes"] == {"wanted": 3, "creating": 0, "made": 3, "joined": 3, "ready": 3, "failed": 0}
    assert now["health"]["verdict"] == "Healthy"
    assert now["endpoint"]["addresses"] == ["127.64.0.1"]
    assert now["version"] == "1.34.2"
    nodes = (await stack.http.get(f"/v1/clusters/{cluster['id']}/nodes")).json()["items"]
    assert [(node["state"], node["role"]) for node in nodes] == [
        ("Joined", "control-plane"),
        *[("Joined", "worker")] * 2,
    ]
    assert all(node["simulated"] and node["machine_id"] and node["health"]["verdict"] == "Healthy" for node in nodes)
    timeline = (await stack.http.get(f"/v1/clusters/{cluster['id']}/timeline")).json()["items"]
    assert [entry["id"] for entry in timeline] == sorted((entry["id"] for entry in timeline), reverse=True)
    assert {"requested", "machines", "bootstrap", "joined", "endpoint", "health", "phase"} <= {
        entry["kind"] for entry in timeline
    }


async def test_facts_said_again_change_nothing_that_people_see(stack: Stack) -> None:
    cluster = await stack.create()
    await stack.make_ready(cluster)
    await stack.tell(*(fact for fact in ready_facts(cluster) if getattr(fact, "addresses", True)))
    marker = e.HealthChanged.model_validate(
        {**e.HealthChanged.example, "cluster_id": cluster["id"], "reason": "marker"}
    )
    await stack.tell(marker)

    async def marked() -> bool:
        return bool(((await stack.get(cluster))["health"] or {}).get("reason") == "marker")

    await eventually(marked)
    texts = [
        entry["text"] for entry in (await stack.http.get(f"/v1/clusters/{cluster['id']}/timeline")).json()["items"]
    ]
    assert sum("The cluster is Ready" in text for text in texts) == 1
    assert sum("Machines run" in text for text in texts) == 1


async def test_scaling_up_and_down_makes_new_generations(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['id']}/node-sets/workers"
    answer = await stack.http.patch(path, json={"count": 4})
    assert answer.status_code == 202
    assert (answer.json()["generation"], answer.json()["phase"]) == (2, "Updating")
    said = await announced(stack, cluster, such=lambda said: said["generation"] == 2)
    assert said["spec"]["workers"][0]["count"] == 4
    assert (await stack.http.patch(path, json={"count": 4})).status_code == 200
    ready = await stack.make_ready(answer.json())
    assert ready["nodes"]["joined"] == 5
    leaving = [{"name": f"{cluster['name']}-workers-{number}", "node_set": "workers"} for number in (2, 3)]
    await stack.http.patch(path, json={"count": 2})
    await stack.tell(
        e.NodesLeaving.model_validate({"cluster_id": cluster["id"], "nodes": leaving}),
        e.NodesRemoved.model_validate({"cluster_id": cluster["id"], "remaining": 3, "nodes": leaving}),
    )

    async def shrunk() -> bool:
        shown = (await stack.http.get(f"/v1/clusters/{cluster['id']}/nodes")).json()["items"]
        return bool((await stack.get(cluster))["nodes"]["joined"] == len(shown) == 3)

    await eventually(shrunk)
    assert (await stack.http.patch(path.replace("workers", "nosuch"), json={"count": 1})).status_code == 404


async def test_a_failure_says_who_can_fix_it_and_a_retry_lifts_it(stack: Stack) -> None:
    cluster = await stack.create()
    await stack.tell(e.BootstrapFailed.model_validate({**e.BootstrapFailed.example, "cluster_id": cluster["id"]}))
    failed = await stack.phase(cluster, "Failed")
    assert failed["failure"]["who_can_fix"] == "operator"
    assert "6443" in failed["failure"]["reason"]
    answer = await stack.http.post(f"/v1/clusters/{cluster['id']}/retry", json={})
    assert answer.status_code == 202
    assert (answer.json()["phase"], answer.json()["failure"]) == ("Requested", None)

    async def told() -> bool:
        return bool((await announced(stack, cluster))["retry"] == 1)

    await eventually(told)


async def test_an_unsettled_cluster_is_announced_again_with_a_higher_number(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with running(tmp_path, nats_server, reannounce_after_s=0.5) as stack:
        await stack.offer()
        cluster = await stack.create()
        first = await announced(stack, cluster)

        async def risen() -> bool:
            return bool((await announced(stack, cluster))["announcement"] > first["announcement"])

        await eventually(risen)


@pytest.mark.parametrize("facts_before", [0, 1, 3, 10])
async def test_deletion_ends_from_every_state_and_frees_the_name(stack: Stack, facts_before: int) -> None:
    cluster = await stack.create()
    facts: list[Event] = ready_facts(cluster)
    await stack.tell(*facts[:facts_before])
    answer = await stack.http.delete(f"/v1/clusters/{cluster['name']}")
    assert (answer.status_code, answer.json()["phase"]) == (202, "Deleting")
    assert (await stack.http.delete(f"/v1/clusters/{cluster['name']}")).status_code == 202
    taken = await stack.http.post("/v1/clusters", json={"name": cluster["name"], "spec": ClusterSpec.example})
    assert taken.status_code == 422
    await announced(stack, cluster, "cluster.deletion_requested")
    change = await stack.http.patch(f"/v1/clusters/{cluster['name']}/node-sets/workers", json={"count": 9})
    assert change.status_code == 409
    await stack.tell(*gone_facts(cluster))
    await stack.phase(cluster, "Deleted")
    await announced(stack, cluster, "cluster.deleted")
    assert (await stack.http.get(f"/v1/clusters/{cluster['name']}")).status_code == 404
    again = await stack.http.post("/v1/clusters", json={"name": cluster["name"], "spec": ClusterSpec.example})
    assert again.status_code == 202, again.text
    await stack.tell(*facts)
    deleted = await stack.http.get("/v1/clusters", params={"phase": "Deleted", "q": cluster["name"]})
    assert [item["id"] for item in deleted.json()["items"]] == [cluster["id"]]


async def test_a_change_needs_the_etag_of_what_it_changes(stack: Stack) -> None:
    cluster = await stack.create()
    path, patch = f"/v1/clusters/{cluster['id']}", {"spec": {"version": "1.35.1"}}
    assert (await stack.http.patch(path, json=patch)).status_code == 428
    assert (await stack.http.patch(path, json=patch, headers={"If-Match": '"0.0"'})).status_code == 412
    await stack.tell(*ready_facts(cluster)[:2])
    await stack.phase(cluster, "Provisioning")
    changed = await stack.http.patch(path, json=patch, headers={"If-Match": cluster["etag"]})
    assert changed.status_code == 202, "what is observed does not make an etag stale"
    assert changed.json()["spec"]["version"] == "1.35.1"
    stale = await stack.http.patch(path, json=patch, headers={"If-Match": cluster["etag"]})
    assert (stale.status_code, stale.headers["content-type"]) == (412, "application/problem+json")
    fixed = await stack.http.patch(path, json={"spec": {"cloud": "x"}}, headers={"If-Match": changed.headers["ETag"]})
    assert {problem["field"] for problem in fixed.json()["problems"]} == {"spec.cloud"}


async def test_a_plan_answers_without_doing_anything(stack: Stack) -> None:
    cluster = await stack.create()
    create = await stack.http.post("/v1/plans", json={"action": "create", "name": fresh(), "spec": ClusterSpec.example})
    assert (create.status_code, create.json()["create"]) == (200, 3)
    workers = [{"name": "workers", "count": 9}]
    change = {"action": "change", "cluster": cluster["name"], "spec": {"workers": workers, "version": "1.35.1"}}
    answer = (await stack.http.post("/v1/plans", json=change)).json()
    assert (answer["create"], answer["upgrade"]) == (7, "1.34.2 → 1.35.1")
    delete = await stack.http.post("/v1/plans", json={"action": "delete", "cluster": cluster["id"]})
    assert delete.json()["remove"] == 3
    assert (await stack.get(cluster))["generation"] == 1
    wrong = await stack.http.post("/v1/plans", json={"action": "create", "spec": {"version": "9.9.9"}})
    assert (wrong.status_code, wrong.json()["problems"][0]["field"]) == (422, "spec.version")
    assert (await stack.http.post("/v1/plans", json={"action": "delete"})).status_code == 422


async def test_who_asks_again_gets_a_cluster_only_when_something_of_it_changed(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['id']}"
    first = await stack.http.get(path)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await stack.http.get(path, headers=known)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])

    ill = {"verdict": "Unreachable", "reason": "no answer", "since": datetime.now(UTC)}
    await stack.tell(e.HealthChanged.model_validate({**e.HealthChanged.example, "cluster_id": cluster["id"], **ill}))

    async def told() -> httpx.Response | None:
        answer = await stack.http.get(path, headers=known)
        return answer if answer.status_code == 200 else None

    changed = await eventually(told)
    assert changed.json()["health"]["verdict"] == "Unreachable"
    patch = {"spec": {"workers": [{"name": "workers", "count": 3}]}}
    assert (await stack.http.patch(path, json=patch, headers={"If-Match": first.headers["ETag"]})).status_code == 202


async def test_what_a_replica_of_the_next_release_lets_people_ask_for_hides_no_cluster(stack: Stack) -> None:
    cluster = await stack.create()
    async with stack.service.db.transaction() as tx:
        row = await tx.get(Cluster, UUID(cluster["id"]))
        assert row
        row.spec = {**row.spec, "colour": "blue"}
    answer = await stack.http.get(f"/v1/clusters/{cluster['id']}")
    assert (answer.status_code, "colour" in answer.json()["spec"]) == (200, False), answer.text
    async with stack.service.db.transaction() as tx:  # else this replica would try to announce it again and again
        row = await tx.get_one(Cluster, UUID(cluster["id"]))
        row.spec = {name: value for name, value in row.spec.items() if name != "colour"}


async def test_a_virtual_ip_is_had_once_on_a_cloud_however_many_ask_at_once_and_is_free_again(stack: Stack) -> None:
    real = {**e.CloudOffered.example, "simulated": False, "virtual_ips": ["10.89.0.0/16"]}
    clouds = {"racks", "halls"}
    await stack.tell(*(e.CloudOffered.model_validate({**real, "cloud": cloud}) for cloud in clouds))

    async def offered() -> bool:
        return clouds <= {cloud["cloud"] for cloud in (await stack.http.get("/v1/clouds")).json()["items"]}

    await eventually(offered)
    spec = {**ClusterSpec.example, "cloud": "racks", "network": {"virtual_ip": "10.89.7.250"}}
    asked = [stack.http.post("/v1/clusters", json={"name": fresh(), "spec": spec}) for _ in range(5)]
    answers = await asyncio.gather(*asked)
    (cluster,) = [answer.json() for answer in answers if answer.status_code == 202]
    refused = [answer.json()["problems"] for answer in answers if answer.status_code == 422]
    assert [[problem["field"] for problem in problems] for problems in refused] == [["spec.network.virtual_ip"]] * 4
    assert (await announced(stack, cluster))["spec"]["network"]["virtual_ip"] == "10.89.7.250"

    elsewhere = {**spec, "cloud": "halls"}
    led_from_there = {**elsewhere, "control_plane": {"cloud": "racks"}}
    same = await stack.http.post("/v1/clusters", json={"name": fresh(), "spec": led_from_there})
    assert [problem["field"] for problem in same.json()["problems"]] == ["spec.network.virtual_ip"]
    assert (await stack.http.post("/v1/clusters", json={"name": fresh(), "spec": elsewhere})).status_code == 202

    await stack.http.delete(f"/v1/clusters/{cluster['id']}")
    await stack.tell(*gone_facts(cluster))
    await stack.phase(cluster, "Deleted")
    again = await stack.http.post("/v1/clusters", json={"name": fresh(), "spec": spec})
    assert again.status_code == 202, again.text
