"""The whole service on a real nats-server: facts in, verdicts out, through restarts, replicas and deletion."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from caravan_health.app import build
from caravan_health.settings import Settings
from caravan_health.store import ClusterHealth, NodeHealth, Replica, Transition, Watched, WatchedNode
from caravan_shared.contracts.events import (
    BootstrapDone,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    HealthChanged,
    NodesHealthChanged,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import Connection, Event, NodeRef, ReadyNode
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.service import Service
from tests.integration.health.conftest import Apiserver, Dns
from tests.support.eventually import eventually
from tests.support.outbox import said
from tests.support.ports import free_port
from tests.support.store import lay_down
from tests.support.tls import HOST

E = TypeVar("E", bound=Event)


@dataclass
class Subject:
    """One cluster: its stand-in for a kube-apiserver, and the facts about it."""

    around: Dns
    apiserver: Apiserver
    id: UUID

    def __post_init__(self) -> None:
        self.around.certificates[self.id] = self.apiserver.authority.for_health()

    async def is_made(self, *nodes: str) -> None:
        """All that is said of a cluster until it is complete."""
        await self.endpoint()
        await self.ready(*nodes)
        await self.joined(*nodes)
        await self.around.say(BootstrapDone(cluster_id=self.id, generation=1, version="1.34.2", nodes=len(nodes)))

    async def endpoint(self) -> None:
        await self.around.say(
            EndpointIssued(
                cluster_id=self.id,
                host=HOST,
                port=self.apiserver.port,
                addresses=(self.apiserver.address,),
                zone="embedded",
                resolvable=False,
                ca_certificate=self.apiserver.authority.ca_cert,
            )
        )

    async def ready(self, *names: str) -> None:
        nodes = tuple(
            ReadyNode(
                name=name,
                node_set="workers",
                role=Role.WORKER,
                machine_id=name,
                address="127.0.0.9",
                connection=Connection.SANDBOX,
                joins_by_itself=True,
            )
            for name in names
        )
        await self.around.say(NodesReady(cluster_id=self.id, generation=1, complete=True, nodes=nodes))

    async def joined(self, *names: str) -> None:
        await self.around.say(NodesJoined(cluster_id=self.id, version="1.34.2", nodes=_refs(names)))

    async def announced(self, announcement: int, *, asleep: bool = False) -> None:
        spec = ClusterSpec(version="1.34.2")
        await self.around.say(
            ClusterRequested(
                cluster_id=self.id,
                team="default",
                name="demo",
                generation=1,
                announcement=announcement,
                spec=spec,
                asleep=asleep,
            )
        )

    async def deletion_asked(self) -> None:
        await self.around.say(ClusterDeletionRequested(cluster_id=self.id, team="default", name="demo", announcement=1))


def _refs(names: tuple[str, ...]) -> tuple[NodeRef, ...]:
    return tuple(NodeRef(name=name, node_set="workers") for name in names)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    service = build(settings)
    await lay_down(service.db)
    async with service.running():
        yield service


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with running(settings) as service:
        yield service


@pytest.fixture
def subject(around: Dns, apiserver: Apiserver) -> Subject:
    return Subject(around, apiserver, uuid4())


async def told(service: Service, subject: Subject, event_type: type[E]) -> list[E]:
    """All events of a type about the cluster so far."""
    return await said(service.db, event_type, subject.id)


async def until(service: Service, subject: Subject, *verdicts: Verdict) -> list[HealthChanged]:
    """Wait until exactly these verdicts were told, one after the other."""

    async def look() -> list[HealthChanged]:
        said = await told(service, subject, HealthChanged)
        return said if [event.verdict for event in said] == list(verdicts) else []

    return await eventually(look, saying=f"told {verdicts}")


async def nodes_told(service: Service, subject: Subject) -> dict[str, Verdict]:
    events = await told(service, subject, NodesHealthChanged)
    return {node.name: node.verdict for event in events for node in event.nodes}


async def test_made_cluster_is_watched_and_told_once(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1", "w-2")
    (event,) = await until(service, subject, Verdict.HEALTHY)
    assert (event.reason, event.nodes_ready, event.nodes_seen) == ("ready, 2 of 2 nodes ready", 2, 2)
    await asyncio.sleep(0.7)
    assert len(await told(service, subject, HealthChanged)) == 1
    assert await nodes_told(service, subject) == {"w-1": Verdict.HEALTHY, "w-2": Verdict.HEALTHY}


async def test_cluster_in_the_making_is_not_asked_yet(service: Service, subject: Subject) -> None:
    await subject.endpoint()
    await subject.ready("w-1")
    await asyncio.sleep(0.7)
    assert subject.apiserver.asked == []
    await subject.joined("w-1")
    await until(service, subject, Verdict.HEALTHY)


async def test_sleeping_cluster_is_not_asked_and_not_called_broken_until_it_is_woken_and_answers(
    service: Service, subject: Subject
) -> None:
    await subject.is_made("w-1")
    await until(service, subject, Verdict.HEALTHY)
    await subject.announced(1, asleep=True)
    said = await eventually(lambda: _said_last(service, subject, Verdict.UNKNOWN))
    assert said.reason == "asleep: its machines are stopped on purpose"
    assert await nodes_told(service, subject) == {"w-1": Verdict.UNKNOWN}
    await subject.apiserver.stop()
    await subject.announced(2, asleep=False)
    said = await eventually(lambda: _said_last(service, subject, Verdict.UNKNOWN, reason="waking: "))
    await subject.apiserver.restart()
    await eventually(lambda: _said_last(service, subject, Verdict.HEALTHY))
    verdicts = {event.verdict for event in await told(service, subject, HealthChanged)}
    assert verdicts == {Verdict.HEALTHY, Verdict.UNKNOWN}


async def _said_last(service: Service, subject: Subject, verdict: Verdict, reason: str = "") -> HealthChanged | None:
    said = (await told(service, subject, HealthChanged))[-1:]
    return next((each for each in said if each.verdict is verdict and each.reason.startswith(reason)), None)


async def test_outage_and_recovery_are_told_and_kept_as_history(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1")
    await until(service, subject, Verdict.HEALTHY)
    await subject.apiserver.stop()
    await until(service, subject, Verdict.HEALTHY, Verdict.UNREACHABLE)
    await subject.apiserver.restart()
    await until(service, subject, Verdict.HEALTHY, Verdict.UNREACHABLE, Verdict.HEALTHY)
    async with service.db.reading() as session:
        kept = (await session.exec(select(Transition).order_by(col(Transition.id)))).all()
    assert [(change.old, change.new) for change in kept] == [
        (Verdict.UNKNOWN, Verdict.HEALTHY),
        (Verdict.HEALTHY, Verdict.UNREACHABLE),
        (Verdict.UNREACHABLE, Verdict.HEALTHY),
    ]


async def test_restart_begins_with_the_last_verdict(settings: Settings, subject: Subject) -> None:
    async with running(settings) as service:
        await subject.is_made("w-1")
        await until(service, subject, Verdict.HEALTHY)
    async with running(settings) as service:
        asked = len(subject.apiserver.asked)
        await eventually(lambda: len(subject.apiserver.asked) > asked + 3)
        assert len(await told(service, subject, HealthChanged)) == 1
        await subject.apiserver.stop()
        await until(service, subject, Verdict.HEALTHY, Verdict.UNREACHABLE)


async def test_higher_announcement_has_everything_said_again(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1")
    await until(service, subject, Verdict.HEALTHY)
    await subject.announced(1)
    first, again = await until(service, subject, Verdict.HEALTHY, Verdict.HEALTHY)
    assert first == again
    await subject.announced(1)
    await asyncio.sleep(0.5)
    assert len(await told(service, subject, HealthChanged)) == 2
    assert len(await told(service, subject, NodesHealthChanged)) == 2


async def test_node_that_joined_and_vanished_is_unknown_until_it_is_removed(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1", "w-2", "w-3")
    await eventually(lambda: nodes_told(service, subject))
    assert (await nodes_told(service, subject))["w-3"] is Verdict.UNKNOWN
    removed = NodesRemoved(cluster_id=subject.id, remaining=2, nodes=_refs(("w-3",)))
    await subject.around.say(removed)
    await subject.ready("w-3")  # late and out of order: it must not come back
    await eventually(lambda: _is_removed(service, "w-3"))
    subject.apiserver.nodes["w-3"] = {"Ready": "True"}
    await asyncio.sleep(1.0)
    assert (await nodes_told(service, subject))["w-3"] is Verdict.UNKNOWN


async def test_leaving_node_degrades_nobody(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1", "w-2")
    await until(service, subject, Verdict.HEALTHY)
    await subject.around.say(NodesLeaving(cluster_id=subject.id, nodes=_refs(("w-2",))))
    await eventually(lambda: _is_leaving(service, "w-2"))
    subject.apiserver.nodes["w-2"] = {"Ready": "False"}
    await asyncio.sleep(1.0)
    assert {event.verdict for event in await told(service, subject, HealthChanged)} == {Verdict.HEALTHY}


async def test_deleted_cluster_is_forgotten_and_late_facts_do_not_revive_it(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1")
    await until(service, subject, Verdict.HEALTHY)
    await subject.deletion_asked()
    await eventually(lambda: _is_forgotten(service, subject.id))
    asked = len(subject.apiserver.asked)
    await subject.is_made("w-1")
    await subject.around.say(ClusterDeleted(cluster_id=subject.id, team="default", name="demo"))
    await asyncio.sleep(0.7)
    assert len(subject.apiserver.asked) <= asked + 1
    assert await _is_forgotten(service, subject.id)


async def test_older_endpoint_that_comes_late_is_ignored(service: Service, subject: Subject) -> None:
    await subject.is_made("w-1")
    await until(service, subject, Verdict.HEALTHY)
    subject.around.sequence = 0
    elsewhere = Apiserver(subject.apiserver.authority, port=free_port())
    await Subject(subject.around, elsewhere, subject.id).endpoint()
    await asyncio.sleep(0.7)
    async with service.db.reading() as session:
        watched = await session.get(Watched, subject.id)
    assert watched
    assert watched.port == subject.apiserver.port


async def test_replicas_share_the_clusters_and_take_over_from_each_other(
    settings: Settings, around: Dns, apiserver: Apiserver, postgres_url: str
) -> None:
    subjects = [Subject(around, apiserver, uuid4()) for _ in range(12)]
    shared = {"database_url": postgres_url, "replica_silent_after_s": 20.0}  # whoever stops says so
    one, two = (
        settings.model_copy(update={**shared, "instance": name, "http_port": free_port()}) for name in ("one", "two")
    )
    async with running(one) as first:
        async with running(two):
            await eventually(lambda: _replicas(first, 2))
            for subject in subjects:
                await subject.is_made("w-1")
            await eventually(lambda: _watchers(first, {"one", "two"}, 12))
        await eventually(lambda: _watchers(first, {"one"}, 12))
        for subject in subjects:
            said = await told(first, subject, HealthChanged)
            assert [event.verdict for event in said] == [Verdict.HEALTHY]


async def _replicas(service: Service, count: int) -> bool:
    async with service.db.reading() as session:
        return len((await session.exec(select(Replica))).all()) == count


async def _watchers(service: Service, watchers: set[str], count: int) -> bool:
    async with service.db.reading() as session:
        rows = (await session.exec(select(ClusterHealth).where(ClusterHealth.verdict == Verdict.HEALTHY))).all()
    return {row.watcher for row in rows} == watchers and len(rows) == count


async def _is_leaving(service: Service, name: str) -> bool:
    async with service.db.reading() as session:
        node = (await session.exec(select(WatchedNode).where(WatchedNode.name == name))).one()
    return node.leaving


async def _is_removed(service: Service, name: str) -> bool:
    async with service.db.reading() as session:
        node = (await session.exec(select(WatchedNode).where(WatchedNode.name == name))).one()
    return node.removed_at is not None


async def _is_forgotten(service: Service, cluster_id: UUID) -> bool:
    async with service.db.reading() as session:
        left = [
            (await session.exec(select(table).where(col(table.cluster_id) == cluster_id))).all()
            for table in (ClusterHealth, NodeHealth, Transition)
        ]
    return not any(left)
