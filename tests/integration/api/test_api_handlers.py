"""Facts in the store: any order gives the same rows, and a thousand nodes cost few statements, on both databases."""

import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from caravan_api.store import Cluster
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from tests.integration.api.bare_store import Store, bare_store, facts_of


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Handlers on SQLite and on PostgreSQL."""
    async with bare_store(database_url) as store:
        yield store


async def test_shuffled_and_doubled_facts_give_the_same_rows(store: Store) -> None:
    first = await store.create()
    for sequence, event in await facts_of(store, first):
        await store.hear(sequence, event)
    expected = await store.view(first)
    assert expected["phase"] == "Ready"
    for seed in range(6):
        cluster_id = await store.create()
        facts = await facts_of(store, cluster_id)
        disorder = facts + facts[::2]
        random.Random(seed).shuffle(disorder)
        for sequence, event in disorder:
            await store.hear(sequence, event)
        assert await store.view(cluster_id) == expected, f"seed {seed}"


async def test_a_removed_node_is_not_revived_by_a_late_fact(store: Store) -> None:
    cluster_id = await store.create()
    facts = await facts_of(store, cluster_id)
    nodes = [{"name": f"same-workers-{number}", "node_set": "workers"} for number in (0, 1)]
    removed = e.NodesRemoved.model_validate({"cluster_id": cluster_id, "remaining": 1, "nodes": nodes})
    await store.hear(99, removed)
    for sequence, event in facts:
        await store.hear(sequence, event)
    view = await store.view(cluster_id)
    assert [node["state"] for node in view["rows"] if node["node_set"] == "workers"] == ["Removed"] * 3
    assert view["nodes"]["made"] == 1


async def test_a_deleted_cluster_is_not_revived_by_a_late_fact(store: Store) -> None:
    cluster_id = await store.create()
    async with store.db.transaction() as tx:
        await store.desired.delete(tx, await tx.get_one(Cluster, cluster_id), "tester")
    await store.hear(3, e.NodesRemoved(cluster_id=cluster_id, nodes=(), remaining=0))
    await store.hear(4, e.EndpointWithdrawn(cluster_id=cluster_id))
    assert (await store.view(cluster_id))["phase"] == "Deleted"
    await store.hear(5, e.NodesRemoved(cluster_id=cluster_id, nodes=(), remaining=2))
    assert (await store.view(cluster_id))["phase"] == "Deleted"


async def test_removal_that_the_end_of_its_cluster_overtakes_is_told_all_the_same(store: Store) -> None:
    cluster_id = await store.create()
    for sequence, event in await facts_of(store, cluster_id):
        await store.hear(sequence, event)
    async with store.db.transaction() as tx:
        await store.desired.delete(tx, await tx.get_one(Cluster, cluster_id), "tester")
    control_plane, *workers = [
        {"name": row["name"], "node_set": row["node_set"]}
        for row in (await store.view(cluster_id))["rows"]
        if row["state"] == "Joined"
    ]
    about: dict[str, Any] = {"cluster_id": cluster_id, "remaining": 0}
    await store.hear(98, e.EndpointWithdrawn(cluster_id=cluster_id))
    await store.hear(99, e.NodesRemoved.model_validate({**about, "nodes": [control_plane]}))
    await store.hear(97, e.NodesRemoved.model_validate({**about, "nodes": workers}))
    told = [text for text in await store.timeline(cluster_id) if text.startswith("Removed")]
    assert told[-2:] == ["Removed: 1 node of control-plane", "Removed: 2 nodes of workers"]
    assert len(told) == 3, "and the one that was lost"


async def test_a_fact_about_an_unknown_cluster_is_let_go(store: Store) -> None:
    await store.hear(1, e.BootstrapStarted.model_validate(e.BootstrapStarted.example))


async def test_a_thousand_nodes_cost_few_statements(store: Store) -> None:
    workers = [{"name": "workers", "count": 999}]
    network = {"pod_cidr": "10.240.0.0/12"}
    cluster_id = await store.create(control_plane={"count": 19}, workers=workers, network=network)
    facts = chunked(await facts_of(store, cluster_id))
    statements: list[str] = []
    engine = store.db._engine
    assert engine
    sqlalchemy_event.listen(
        engine.sync_engine, "before_cursor_execute", lambda *call: statements.append(call[2]), named=False
    )
    started = time.process_time()
    for sequence, event in enumerate(facts, start=10):
        await store.hear(sequence, event)
    cpu_s = time.process_time() - started
    view = await store.view(cluster_id)
    assert view["nodes"] == {"wanted": 1018, "creating": 0, "made": 1018, "joined": 1018, "ready": 1018, "failed": 0}
    assert len(statements) <= 14 * len(facts)
    assert cpu_s < 10, "five passes over 1,018 nodes take a second or two; ten means that something is not bulk"


def chunked(facts: list[tuple[int, Event]], size: int = 200) -> list[Event]:
    """The facts with their nodes in several events, as the services say them."""
    parts: list[Event] = []
    for _, fact in facts:
        nodes = getattr(fact, "nodes", ())
        if not isinstance(nodes, tuple) or len(nodes) <= size:
            parts.append(fact)
            continue
        starts = range(0, len(nodes), size)
        for start in starts:
            update: dict[str, Any] = {"nodes": nodes[start : start + size]}
            if isinstance(fact, e.NodesReady):
                update["complete"] = start == starts[-1]
            parts.append(fact.model_copy(update=update))
    return parts
