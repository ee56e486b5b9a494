"""Clusters put to sleep and woken over REST: what is announced, what is shown, and what is refused meanwhile."""

from datetime import UTC, datetime
from typing import Any

from caravan_shared.contracts import events as e
from tests.integration.api.conftest import Stack
from tests.integration.api.test_api_clusters import announced
from tests.support.eventually import eventually


def power(cluster: dict[str, Any], generation: int, stopped: int) -> e.NodesPowerChanged:
    """So many of three machines are stopped."""
    asleep = generation % 2 == 1
    return e.NodesPowerChanged(
        cluster_id=cluster["id"],
        power_generation=generation,
        asleep=asleep,
        running=3 - stopped,
        stopped=stopped,
        complete=stopped == (3 if asleep else 0),
    )


def health(cluster: dict[str, Any], verdict: str, reason: str) -> e.HealthChanged:
    now = datetime.now(UTC).isoformat()
    about = {"cluster_id": cluster["id"], "verdict": verdict, "reason": reason, "since": now}
    return e.HealthChanged.model_validate({**e.HealthChanged.example, **about})


async def asleep(stack: Stack) -> dict[str, Any]:
    """A cluster whose machines are stopped."""
    cluster = await stack.make_ready(await stack.create())
    assert (await stack.http.post(f"/v1/clusters/{cluster['id']}/hibernate")).status_code == 202
    await stack.tell(power(cluster, 1, 3))
    return await stack.phase(cluster, "Hibernated")


async def test_cluster_is_put_to_sleep_and_woken(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['id']}"
    answer = await stack.http.post(f"{path}/hibernate")
    assert (answer.status_code, answer.json()["phase"], answer.json()["asleep"]) == (202, "Hibernating", True)
    assert answer.json()["generation"] == cluster["generation"], "the spec is what it was"
    await eventually(lambda: _is_announced(stack, cluster, asleep=True, power_generation=1))
    assert (await stack.http.post(f"{path}/hibernate")).status_code == 200
    await stack.tell(power(cluster, 1, 2))
    await eventually(lambda: _step_is(stack, cluster, "2 of 3 machines are stopped"))
    await stack.tell(power(cluster, 1, 3))
    assert (await stack.phase(cluster, "Hibernated"))["failure"] is None

    answer = await stack.http.post(f"{path}/wake")
    assert (answer.status_code, answer.json()["phase"], answer.json()["asleep"]) == (202, "Waking", False)
    await eventually(lambda: _is_announced(stack, cluster, asleep=False, power_generation=2))
    await stack.tell(power(cluster, 2, 0))
    await eventually(lambda: _step_is(stack, cluster, "3 of 3 machines run; waiting for its kube-apiserver"))
    await stack.tell(health(cluster, "Healthy", "ready, 3 of 3 nodes ready"))
    await stack.phase(cluster, "Ready")
    assert (await stack.http.post(f"{path}/wake")).status_code == 200
    timeline = (await stack.http.get(f"{path}/timeline")).json()["items"]
    told = [entry["text"] for entry in timeline]
    assert "All 3 machines are stopped" in told
    assert "All machines run again" in told
    audit = (await stack.http.get(f"{path}/audit")).json()["items"]
    powered = [(entry["actor"], entry["after"]["asleep"]) for entry in audit if "asleep" in entry["before"]]
    assert powered == [("admin", False), ("admin", True)]


async def test_what_was_said_of_an_earlier_sleep_does_not_count(stack: Stack) -> None:
    cluster = await asleep(stack)
    path = f"/v1/clusters/{cluster['id']}"
    await stack.http.post(f"{path}/wake")
    await stack.tell(power(cluster, 1, 3), health(cluster, "Healthy", "ready"))
    await stack.http.post(f"{path}/hibernate")
    assert (await stack.get(cluster))["phase"] == "Hibernating"


async def test_sleeping_cluster_is_not_changed_and_gives_no_access_but_can_be_deleted(stack: Stack) -> None:
    cluster = await asleep(stack)
    path, etag = f"/v1/clusters/{cluster['id']}", {"If-Match": cluster["etag"]}
    node = f"{cluster['name']}-workers-0"
    refused = [
        await stack.http.patch(path, json={"spec": {"version": "1.35.1"}}, headers=etag),
        await stack.http.patch(f"{path}/node-sets/workers", json={"count": 5}),
        await stack.http.post(f"{path}/nodes/{node}/replace"),
        await stack.http.post(f"{path}/kubeconfig", json={}),
    ]
    assert [answer.status_code for answer in refused] == [409] * 4
    assert all("is asleep: wake it first" in answer.json()["detail"] for answer in refused)
    assert (await stack.http.put(f"{path}/lifetime", json={"lifetime_s": 3600})).status_code == 200
    assert (await stack.http.delete(path)).json()["phase"] == "Deleting"
    assert (await stack.http.post(f"{path}/wake")).status_code == 409


async def test_only_a_ready_cluster_is_put_to_sleep(stack: Stack) -> None:
    cluster = await stack.create()
    answer = await stack.http.post(f"/v1/clusters/{cluster['id']}/hibernate")
    assert (answer.status_code, answer.json()["retry_helps"]) == (409, True)
    assert "put it to sleep once it is Ready" in answer.json()["detail"]


async def test_cloud_that_cannot_stop_machines_is_named(stack: Stack) -> None:
    machine_types = [{"name": "medium", "cpus": 2, "memory_mib": 4096, "disk_gib": 40}]
    metal = {"cloud": "metal", "kind": "static", "machine_types": machine_types, "stops_machines": False}
    await stack.tell(e.CloudOffered.model_validate({**e.CloudOffered.example, **metal}))

    async def offered() -> bool:
        clouds = (await stack.http.get("/v1/clouds")).json()["items"]
        stops = {cloud["cloud"]: cloud["stops_machines"] for cloud in clouds}
        return (stops.get("metal"), stops["sandbox"]) == (False, True)

    await eventually(offered)
    cluster = await stack.make_ready(await stack.create(cloud="metal"))
    answer = await stack.http.post(f"/v1/clusters/{cluster['id']}/hibernate")
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert (problem["field"], problem["problem"]) == ("spec.cloud", "the cloud metal cannot stop its machines")
    assert (await stack.get(cluster))["phase"] == "Ready"


async def test_upgrade_that_waits_for_its_window_says_until_when(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    reason = "the upgrade to 1.35.1 waits for the maintenance window: next Sat 3 Jan 02:00–06:00 (UTC)"
    headers = {"If-Match": cluster["etag"]}
    window = {"days": ["sat"], "start": "02:00"}
    spec = {"version": "1.35.1", "maintenance": {"windows": [window]}}
    changed = await stack.http.patch(f"/v1/clusters/{cluster['id']}", json={"spec": spec}, headers=headers)
    assert changed.status_code == 202, changed.text
    await stack.tell(e.BootstrapHeld(cluster_id=cluster["id"], reason=reason))
    await eventually(lambda: _step_is(stack, cluster, reason))
    await stack.tell(e.BootstrapHeld(cluster_id=cluster["id"], reason=""))

    async def goes_on() -> bool:
        step = (await stack.get(cluster))["step"]
        return bool(step and step["text"] != reason)

    await eventually(goes_on)


async def _step_is(stack: Stack, cluster: dict[str, Any], text: str) -> bool:
    step = (await stack.get(cluster))["step"]
    return bool(step and step["text"] == text)


async def _is_announced(stack: Stack, cluster: dict[str, Any], **wanted: Any) -> bool:
    return wanted.items() <= (await announced(stack, cluster)).items()
