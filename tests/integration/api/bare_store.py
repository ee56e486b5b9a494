"""The api's handlers on a bare store, without a bus: facts go in one by one, in whatever order a test likes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import col, select

from caravan_api.admission import Limits
from caravan_api.app import MIGRATIONS
from caravan_api.desired import Desired
from caravan_api.handlers import Handlers
from caravan_api.offers import cloud_offered, kubernetes_offered
from caravan_api.readmodel import cluster_view
from caravan_api.recorder import Recorder
from caravan_api.store import Cluster, Node, Table, TimelineEntry
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import Database
from tests.integration.api.conftest import fresh, ready_facts
from tests.support.store import migrated

START = datetime(2026, 1, 1, tzinfo=UTC)


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The time that was set."""
        return self.time


class Store:
    """The api's handlers on a bare store, without a bus."""

    def __init__(self, db: Database) -> None:
        self.db, self.clock = db, SetClock()
        recorder = Recorder(self.clock, lambda _cluster: None, lambda: None)
        self.desired = Desired(recorder, Limits(5000), self.clock)
        self.handlers = Handlers(recorder, self.clock)

    async def create(self, **spec: Any) -> UUID:
        """A new cluster."""
        offer = e.CloudOffered.model_validate(e.CloudOffered.example)
        async with self.db.transaction() as tx:
            await cloud_offered(heard(1, offer), tx)
            await kubernetes_offered(heard(2, e.KubernetesOffered(versions=("1.34.2",))), tx)
            request = {"name": fresh(), "spec": {**ClusterSpec.example, **spec}}
            return (await self.desired.create(tx, "default", "tester", request)).id

    async def hear(self, sequence: int, event: Event) -> None:
        """One fact, in a transaction of its own as the plumbing would."""
        async with self.db.transaction() as tx:
            await self.handlers.cluster_fact(heard(sequence, event), tx)

    async def view(self, cluster_id: UUID) -> dict[str, Any]:
        """What people see of a cluster, but for when."""
        async with self.db.reading() as session:
            cluster = await session.get_one(Cluster, cluster_id)
            nodes = (await session.exec(select(Node).where(Node.cluster_id == cluster_id).order_by(Node.name))).all()
        seen = cluster_view(cluster).model_dump(mode="json", exclude={"created_at", "updated_at", "id", "name"})
        return {**seen, "rows": [node.model_dump(exclude={"changed_at", "cluster_id"}) for node in nodes]}

    async def timeline(self, cluster_id: UUID) -> list[str]:
        """What was told of a cluster, in that order."""
        entries = select(TimelineEntry.text).where(TimelineEntry.cluster_id == cluster_id)
        async with self.db.reading() as session:
            return list(await session.exec(entries.order_by(col(TimelineEntry.id))))


def heard(sequence: int, event: Event) -> Heard[Any]:
    """An event as it arrives."""
    at = START + timedelta(seconds=sequence)
    return Heard(event, str(uuid4()), sequence, "test", at, event.subject)


@asynccontextmanager
async def bare_store(database_url: str) -> AsyncIterator[Store]:
    """The handlers on a store of their own."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield Store(db)


async def facts_of(store: Store, cluster_id: UUID) -> list[tuple[int, Event]]:
    """What is said of a cluster until it is Ready, one node lost and replaced on the way; each with its sequence."""
    async with store.db.reading() as session:
        cluster = cluster_view(await session.get_one(Cluster, cluster_id)).model_dump(mode="json")
    facts = ready_facts({**cluster, "name": "same"})
    facts[6:6] = [
        e.NodesFailed.model_validate(
            {
                "cluster_id": cluster_id,
                "generation": 1,
                "gave_up": False,
                "nodes": [
                    {
                        "name": "same-workers-x",
                        "node_set": "workers",
                        "reason": "lost",
                        "who_can_fix": "operator",
                        "will_be_replaced": True,
                    }
                ],
            }
        ),
        e.NodesRemoved.model_validate(
            {"cluster_id": cluster_id, "remaining": 3, "nodes": [{"name": "same-workers-x", "node_set": "workers"}]}
        ),
    ]
    return list(enumerate(facts, start=10))
