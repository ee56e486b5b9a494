"""Two replicas of every service, restarted one after the other while clusters come and go: nothing lost or doubled."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.support.api import FAST_SANDBOX, SMALL, Api
from tests.support.postgres import fresh_databases
from tests.support.second_replicas import SecondReplicas

pytestmark = pytest.mark.long

LIVES_AT_ONCE = 3
NODES_OF_A_LIFE = 4
"""One control plane, two workers, and one that is added."""
PATIENCE_S = 120.0


@pytest.fixture
async def on_postgresql(postgres_server: str) -> dict[str, str]:
    """Settings that give each service a fresh database."""
    urls = await fresh_databases(postgres_server, SERVICES)
    return {f"CARAVAN_{service.upper()}_DATABASE_URL": url for service, url in urls.items()}


@pytest.fixture
def shared_stack(tmp_path: Path, on_postgresql: dict[str, str]) -> Iterator[Stack]:
    """A stack whose services may have further replicas."""
    with Stack(tmp_path / "stack", ports="auto", env=FAST_SANDBOX | on_postgresql) as running:
        yield running


async def test_clusters_come_and_go_while_every_replica_is_restarted_and_killed(shared_stack: Stack) -> None:
    """Each replica once by SIGTERM and once by SIGKILL; whole lives of clusters all the while."""
    replaced = asyncio.Event()
    numbers = count()

    async def live_on(api: Api) -> list[str]:
        lived: list[str] = []
        while not (replaced.is_set() and lived):
            lived.append(await _life(api, f"rolled-{next(numbers)}"))
        return lived

    with SecondReplicas(shared_stack) as second:
        async with Api(shared_stack) as api, _machines(shared_stack) as seen:
            lives = [asyncio.create_task(live_on(api)) for _ in range(LIVES_AT_ONCE)]
            await asyncio.to_thread(_replace_all, shared_stack, second)
            replaced.set()
            lived = [cluster_id for life in lives for cluster_id in await life]
            for cluster_id in lived:
                await _was_told_once(api, cluster_id)
    assert {machine: len(ids) for machine, ids in seen.items() if len(ids) > 1} == {}, "machines made twice"
    assert len(seen) == NODES_OF_A_LIFE * len(lived)


def _replace_all(stack: Stack, second: SecondReplicas) -> None:
    """As a rolling restart does, one at a time; then as crashes do."""
    for service in SERVICES:
        stack.restart(service)
        second.restart(service)
    kills: dict[Callable[[str], None], Callable[[str], None]] = {stack.kill: stack.restart, second.kill: second.restart}
    for service in SERVICES:
        for kill, restart in kills.items():
            kill(service)
            restart(service)


async def _life(api: Api, name: str) -> str:
    """One cluster, from its request to its end."""
    cluster_id = str((await api.create(name, SMALL))["id"])
    await api.until_ready(cluster_id, nodes=3, within=PATIENCE_S)
    for workers in (3, 1):
        await api.insist("PATCH", f"/clusters/{cluster_id}/node-sets/workers", {"count": workers})
        await api.until_ready(cluster_id, nodes=workers + 1, within=PATIENCE_S)
        await api.until_exactly(cluster_id, workers + 1, within=PATIENCE_S)  # a dead replica's lease lasts 15 s
    await api.insist("DELETE", f"/clusters/{cluster_id}")
    await api.until_gone(cluster_id, within=PATIENCE_S)
    return cluster_id


async def _was_told_once(api: Api, cluster_id: str) -> None:
    """In the timeline, every node joins once and goes once, and the cluster's own steps are there once.

    That a machine runs is no news any more once its node has joined, so a step of that may be missing.
    """
    entries = (await api.call("GET", f"/clusters/{cluster_id}/timeline?limit=500"))["items"]
    nodes, texts = Counter[str](), [entry["text"] for entry in entries]
    for entry in entries:
        step = "joined" if entry["kind"] == "joined" else entry["text"].split(":")[0]
        nodes[step] += sum(entry["data"].get("node_sets", {}).values())
    assert nodes["joined"] == NODES_OF_A_LIFE, texts
    assert nodes["Removed"] == NODES_OF_A_LIFE, texts
    assert nodes["Machines run"] <= NODES_OF_A_LIFE, texts
    assert sum(entry["kind"] == "requested" for entry in entries) == 1, texts
    assert not any(entry["kind"] == "failure" for entry in entries), texts


@asynccontextmanager
async def _machines(stack: Stack) -> AsyncIterator[dict[str, set[str]]]:
    """All machines that the cloud ever listed meanwhile: the ids of each name. Names are never used again."""
    seen: dict[str, set[str]] = defaultdict(set)
    headers = {"Authorization": f"Bearer {stack.layout.sandbox_token}"}

    async def look(http: httpx.AsyncClient) -> None:
        while True:
            answer = await http.get("/v1/machines", params={"limit": 1000})
            for machine in answer.raise_for_status().json()["machines"]:
                seen[machine["name"]].add(machine["id"])
            await asyncio.sleep(0.1)

    async with httpx.AsyncClient(base_url=stack.layout.sandbox_url, headers=headers, timeout=30) as http:
        looking = asyncio.create_task(look(http))
        yield seen
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
