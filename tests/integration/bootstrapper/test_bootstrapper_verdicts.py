"""What health believes of nodes, as the bootstrapper keeps it: on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from caravan_bootstrapper import store
from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.handlers import nodes_health_changed, nodes_ready
from caravan_bootstrapper.store import Table
from caravan_shared.contracts.events import NodesHealthChanged, NodesReady
from caravan_shared.contracts.facts import Connection, NodeVerdict, ReadyNode
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import Database
from tests.support.store import migrated

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield db


def ready(name: str) -> ReadyNode:
    return ReadyNode(
        name=name,
        node_set="workers",
        role=Role.WORKER,
        machine_id=f"m-{name}",
        address="10.0.0.1",
        connection=Connection.SSH,
        joins_by_itself=False,
    )


async def test_newest_verdict_on_a_node_is_kept_in_whatever_order_they_come(db: Database) -> None:
    cluster_id, another = uuid4(), uuid4()

    async def hear(sequence: int, verdict: Verdict, *names: str) -> None:
        told = tuple(NodeVerdict(name=name, verdict=verdict, reason="so", since=NOON) for name in names)
        event = NodesHealthChanged(cluster_id=cluster_id, nodes=told)
        async with db.transaction() as tx:
            await nodes_health_changed(Heard(event, str(uuid4()), sequence, "health", NOON, event.subject), tx)

    for each in (cluster_id, another):
        machines = NodesReady(cluster_id=each, generation=1, complete=True, nodes=(ready("w-1"), ready("w-2")))
        async with db.transaction() as tx:
            await nodes_ready(Heard(machines, str(uuid4()), 1, "provisioner", NOON, machines.subject), tx)
    await hear(5, Verdict.UNREACHABLE, "w-1", "never-heard-of")
    await hear(3, Verdict.DEGRADED, "w-1", "w-2")
    await hear(6, Verdict.HEALTHY)
    async with db.reading() as session:
        kept = {node.name: node.verdict for node in await store.nodes(session, cluster_id)}
        others = {node.verdict for node in await store.nodes(session, another)}
    assert kept == {"w-1": Verdict.UNREACHABLE, "w-2": Verdict.DEGRADED}
    assert others == {Verdict.UNKNOWN}
