"""The provisioner's tables, on each database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from caravan_provisioner import handlers, store
from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.fleet import Fleet
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node, SetProgress
from caravan_shared.contracts.events import (
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    NodesDrained,
    NodesHealthChanged,
    NodesJoined,
)
from caravan_shared.contracts.facts import ClusterEvent, NodeRef, NodeVerdict, WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MachineState, Verdict
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.envelope import Heard
from tests.support.clock import ManualClock
from tests.support.store import migrated

CLUSTER = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(Database(database_url, store.Table.metadata, MIGRATIONS)) as db:
        yield db


def nodes(count: int) -> list[Node]:
    node = Node(CLUSTER, "", "workers", Role.WORKER, "k3x9", 1, "medium", NOW, MachineState.PLANNED, NOW)
    return [replace(node, name=f"demo-workers-k3x9-{n}", number=n) for n in range(1, count + 1)]


def heard(event: ClusterEvent, at: datetime = NOW) -> Heard:  # type: ignore[type-arg]
    return Heard(event, str(uuid4()), 1, "api", at, event.subject)


def requested(generation: int, announcement: int = 1, *, retry: int = 0, workers: int = 1) -> ClusterRequested:
    spec = ClusterSpec.model_validate({"version": "1.34.2", "workers": [{"count": workers}]})
    return ClusterRequested(
        cluster_id=CLUSTER,
        team="default",
        name="demo",
        generation=generation,
        announcement=announcement,
        retry=retry,
        spec=spec,
    )


async def test_nodes_come_back_as_they_were_saved(db: Database) -> None:
    planned = nodes(1019)
    async with db.transaction() as tx:
        await store.save_nodes(tx, {}, planned)
    failed = [
        replace(node.failed("no host", WhoCanFix.OPERATOR, NOW + timedelta(seconds=1)), said=MachineState.FAILED)
        for node in planned
    ]
    async with db.transaction() as tx:
        await store.save_nodes(tx, {node.name: node for node in planned}, failed)
    async with db.reading() as session:
        assert await store.nodes_of(session, CLUSTER) == {node.name: node for node in failed}


async def test_reconciler_never_overwrites_what_a_handler_noted(db: Database) -> None:
    (node,) = nodes(1)
    async with db.transaction() as tx:
        await store.save_nodes(tx, {}, [node])
    drained = NodesDrained(cluster_id=CLUSTER, nodes=(NodeRef(name=node.name, node_set=node.node_set),))
    async with db.transaction() as tx:
        await handlers.nodes_drained(heard(drained), tx)
    async with db.transaction() as tx:
        await store.save_nodes(tx, {node.name: node}, [replace(node, listed=True)])
    async with db.reading() as session:
        (found,) = (await store.nodes_of(session, CLUSTER)).values()
    assert (found.drained_at, found.listed) == (NOW, True)


async def test_progress_of_sets_is_kept(db: Database) -> None:
    first = SetProgress(CLUSTER, "workers", 1, 0, 2, NOW, NOW, gave_up=False)
    for progress in (first, replace(first, attempts=3, gave_up=True, retry_at=None)):
        async with db.transaction() as tx:
            await store.save_sets(tx, [progress])
        async with db.reading() as session:
            assert await store.sets_of(session, CLUSTER) == {"workers": progress}


async def cluster(db: Database) -> store.Cluster:
    async with db.reading() as session:
        found = await session.get(store.Cluster, CLUSTER)
    assert found
    return found


async def test_newest_generation_counts_whatever_the_order(db: Database) -> None:
    for event in (requested(2, 3, workers=5), requested(1, 1), requested(2, 2, workers=5)):
        async with db.transaction() as tx:
            await handlers.cluster_requested(heard(event), tx)
    found = await cluster(db)
    assert (found.generation, found.announcement, found.spec.workers[0].count) == (2, 3, 5)


async def test_deletion_outlives_every_request_and_the_tombstone_every_late_fact(db: Database) -> None:
    deletion = ClusterDeletionRequested(cluster_id=CLUSTER, team="default", name="demo", announcement=1)
    async with db.transaction() as tx:
        await handlers.cluster_deletion_requested(heard(deletion), tx)
        await handlers.cluster_requested(heard(requested(1)), tx)
    assert (await cluster(db)).deletion_announcement == 1
    async with db.transaction() as tx:
        await store.save_nodes(tx, {}, nodes(2))
        await handlers.cluster_deleted(heard(ClusterDeleted(cluster_id=CLUSTER, team="default", name="demo")), tx)
        await handlers.cluster_requested(heard(requested(9)), tx)
    assert ((await cluster(db)).deleted_at, (await cluster(db)).generation) == (NOW, 1)
    async with db.reading() as session:
        assert await store.nodes_of(session, CLUSTER) == {}
        assert await store.live_keys(session) == []
        assert await store.clusters_known(session) == (set(), {CLUSTER})


async def test_tombstones_are_pruned_when_nothing_can_arrive_any_more(db: Database) -> None:
    async with db.transaction() as tx:
        await handlers.cluster_deleted(heard(ClusterDeleted(cluster_id=CLUSTER, team="default", name="demo")), tx)
        await store.prune(tx, NOW)
    assert (await cluster(db)).deleted_at == NOW
    async with db.transaction() as tx:
        await store.prune(tx, NOW + timedelta(seconds=1))
    async with db.reading() as session:
        assert await store.clusters_known(session) == (set(), set())


async def test_installation_id_is_made_once(db: Database) -> None:
    async with db.transaction() as tx:
        first = await store.installation(tx)
    async with db.transaction() as tx:
        assert await store.installation(tx) == first


async def test_what_others_say_of_a_node_is_kept_whatever_comes_first(db: Database) -> None:
    (node,) = nodes(1)
    ref = NodeRef(name=node.name, node_set=node.node_set)

    def verdict(told: Verdict) -> NodesHealthChanged:
        said = NodeVerdict(name=node.name, verdict=told, reason=f"it is {told}", since=NOW)
        return NodesHealthChanged(cluster_id=CLUSTER, nodes=(said,))

    async with db.transaction() as tx:
        newer = Heard(verdict(Verdict.UNREACHABLE), str(uuid4()), 7, "health", NOW, "nodes.health_changed")
        await handlers.nodes_health_changed(newer, tx)
    async with db.transaction() as tx:
        older = Heard(verdict(Verdict.HEALTHY), str(uuid4()), 6, "health", NOW, "nodes.health_changed")
        await handlers.nodes_health_changed(older, tx)
        await handlers.nodes_joined(heard(NodesJoined(cluster_id=CLUSTER, version="1.34.2", nodes=(ref,))), tx)
    async with db.transaction() as tx:
        await store.save_nodes(tx, {}, [node])
        again = NodesJoined(cluster_id=CLUSTER, version="1.34.2", nodes=(ref,))
        await handlers.nodes_joined(heard(again, NOW + timedelta(hours=1)), tx)
    async with db.reading() as session:
        (found,) = (await store.nodes_of(session, CLUSTER)).values()
    assert (found.verdict, found.verdict_reason, found.joined_at) == (Verdict.UNREACHABLE, "it is Unreachable", NOW)
    async with db.transaction() as tx:
        await store.forget(tx, CLUSTER)
        await store.save_nodes(tx, {}, [node])
    async with db.reading() as session:
        assert await store.nodes_of(session, CLUSTER) == {node.name: node}


async def test_newest_announcement_says_which_nodes_are_to_be_replaced(db: Database) -> None:
    for announcement, names in [(1, ()), (3, ("b",)), (2, ("a", "b"))]:
        event = requested(1, announcement, retry=announcement).model_copy(update={"replace": names})
        async with db.transaction() as tx:
            await handlers.cluster_requested(heard(event, NOW + timedelta(seconds=announcement)), tx)
    async with db.reading() as session:
        cluster = await session.get_one(store.Cluster, CLUSTER)
    assert (cluster.replacing, cluster.retried_at) == (["b"], NOW + timedelta(seconds=3))


async def _running(db: Database, cloud: str, *silent: bool, cluster_id: UUID, asleep: bool = False) -> None:
    """A cluster with a node that runs for each of `silent`, whom health finds Unreachable or has not judged."""
    running = [
        replace(node, cluster_id=cluster_id, cloud=cloud, state=MachineState.READY) for node in nodes(len(silent))
    ]
    said = tuple(
        NodeVerdict(name=node.name, verdict=Verdict.UNREACHABLE, reason="no word", since=NOW)
        for node, is_silent in zip(running, silent, strict=True)
        if is_silent
    )
    wanted = requested(1).model_copy(update={"cluster_id": cluster_id, "asleep": asleep})
    async with db.transaction() as tx:
        await handlers.cluster_requested(heard(wanted), tx)
        await store.save_nodes(tx, {}, [*running, replace(running[0], name="on-its-way", state=MachineState.CREATING)])
        if said:
            await handlers.nodes_health_changed(heard(NodesHealthChanged(cluster_id=cluster_id, nodes=said)), tx)


async def test_silent_nodes_are_counted_over_all_clusters_that_are_awake(db: Database) -> None:
    await _running(db, "east", True, False, False, cluster_id=UUID(int=1))
    await _running(db, "east", True, cluster_id=UUID(int=2))
    await _running(db, "east", True, True, cluster_id=UUID(int=3), asleep=True)
    await _running(db, "west", False, cluster_id=UUID(int=4))
    async with db.reading() as session:
        assert sorted(await store.count_silent(session)) == [("east", 2, 4), ("west", 0, 1)]


async def test_many_clusters_in_a_storm_are_answered_from_one_count(db: Database) -> None:
    clock, limits = ManualClock(NOW), Limits(repair_cloud_nodes=1)
    fleet = Fleet(db, clock, limits)
    await _running(db, "east", True, cluster_id=UUID(int=1))
    assert await fleet.storms() == {}
    await _running(db, "east", True, cluster_id=UUID(int=2))
    assert await fleet.storms() == {}, "counted just now"
    clock.advance(limits.repair_after_s / 10)
    assert list(await fleet.storms()) == ["east"]
