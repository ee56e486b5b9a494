"""Kill what can be killed while clusters come and go: it takes longer, and ends the same.

A step is a fact that passes on the bus. One loss of the broker runs with every `make test`; the table of kills, every
service at every step, with `make test-long`.
"""

import asyncio
import shutil
from itertools import count

import pytest

from caravan_cli.up import Stack
from tests.support.api import SMALL, Api
from tests.support.facts import saying_everything_again, watching

pytestmark = pytest.mark.long

SERVICES = ("api", "provisioner", "bootstrapper", "dns", "health")
CREATE_STEPS = (
    "cluster.requested",
    "endpoint.issued",
    "nodes.creating",
    "nodes.ready",
    "bootstrap.started",
    "bootstrap.progress",
    "nodes.joined",
    "bootstrap.done",
)
DELETE_STEPS = ("cluster.deletion_requested", "nodes.removed", "endpoint.withdrawn")
NODES = 3
PATIENCE_S = 110.0

_numbers = count()


async def _kill(stack: Stack, service: str) -> None:
    await asyncio.to_thread(stack.kill, service)
    await asyncio.to_thread(stack.restart, service, wait=False)


async def _all_ready(stack: Stack) -> None:
    await asyncio.to_thread(stack.wait_ready, SERVICES)


@pytest.mark.parametrize("step", CREATE_STEPS)
async def test_service_killed_during_a_create_changes_nothing_but_the_time(stack: Stack, api: Api, step: str) -> None:
    """One cluster a service; each service is killed when its cluster reaches the step."""

    async def create(service: str) -> str:
        cluster_id = str((await api.create(f"kill-{next(_numbers)}", SMALL))["id"])
        await watch.seen(step, cluster_id, within=PATIENCE_S)
        await _kill(stack, service)
        return cluster_id

    async with watching(stack.nats_url) as watch:
        clusters = await asyncio.gather(*(create(service) for service in SERVICES))
    await _all_ready(stack)
    for cluster_id in clusters:
        await api.until_ready(cluster_id, nodes=NODES, within=PATIENCE_S)
        await api.until_exactly(cluster_id, NODES)
    for cluster_id in clusters:
        await api.call("DELETE", f"/clusters/{cluster_id}")
    for cluster_id in clusters:
        await api.until_gone(cluster_id, within=PATIENCE_S)


@pytest.mark.parametrize("step", DELETE_STEPS)
async def test_service_killed_during_a_delete_leaves_nothing(stack: Stack, api: Api, step: str) -> None:
    async def delete(service: str, cluster_id: str) -> None:
        await api.insist("DELETE", f"/clusters/{cluster_id}")
        await watch.seen(step, cluster_id, within=PATIENCE_S)
        await _kill(stack, service)

    names = [f"gone-{next(_numbers)}" for _ in SERVICES]
    clusters = [str((await api.create(name, SMALL))["id"]) for name in names]
    for cluster_id in clusters:
        await api.until_ready(cluster_id, nodes=NODES, healthy=False, within=PATIENCE_S)
    async with watching(stack.nats_url) as watch:
        pairs = zip(SERVICES, clusters, strict=True)
        await asyncio.gather(*(delete(service, cluster_id) for service, cluster_id in pairs))
    await _all_ready(stack)
    for cluster_id in clusters:
        await api.until_gone(cluster_id, within=PATIENCE_S)


@pytest.mark.parametrize("wiped", [False, True], ids=["restarted", "wiped"])
async def test_broker_lost_in_the_middle_of_a_create(stack: Stack, api: Api, wiped: bool) -> None:
    async with watching(stack.nats_url) as watch:
        asked = await api.create(f"broker-{next(_numbers)}", SMALL)
        await watch.seen("nodes.creating", asked["id"])
        await asyncio.to_thread(stack.kill, "nats")
        if wiped:
            shutil.rmtree(stack.nats_store)
        await asyncio.to_thread(stack.restart, "nats")
    await _all_ready(stack)
    await api.until_ready(asked["id"], nodes=NODES, within=PATIENCE_S)
    await api.until_exactly(asked["id"], NODES)
    await api.call("DELETE", f"/clusters/{asked['id']}")
    await api.until_gone(asked["id"], within=PATIENCE_S)


async def test_every_fact_thrice_and_out_of_order(stack: Stack, api: Api) -> None:
    async with saying_everything_again(stack.nats_url, seed=7):
        asked = await api.create(f"thrice-{next(_numbers)}", SMALL)
        await api.until_ready(asked["id"], nodes=NODES, within=PATIENCE_S)
        await api.call("PATCH", f"/clusters/{asked['id']}/node-sets/workers", {"count": 1})
        await api.until_ready(asked["id"], nodes=2, within=PATIENCE_S)
        await api.until_exactly(asked["id"], 2)
        await api.call("DELETE", f"/clusters/{asked['id']}")
        await api.until_gone(asked["id"], within=PATIENCE_S)
    await asyncio.sleep(2)  # the last late copies
    assert await api.machines(asked["id"]) == [], "a late fact must not revive what is gone"
    assert (await api.cluster(asked["id"]))["phase"] == "Deleted"
