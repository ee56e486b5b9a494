"""Delete completes from every state of the services beside the api: nothing holds it up, nothing is left, and nothing
that is heard late brings a cluster back."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import MetaData, func, select
from sqlmodel import col

from caravan_bootstrapper.handlers import HANDLERS
from caravan_bootstrapper.store import Table as BootstrapperTable
from caravan_dns.app import build as build_dns
from caravan_dns.settings import Settings as DnsSettings
from caravan_dns.store import Table as DnsTable
from caravan_dns.store import ZoneRecord
from caravan_health.app import build as build_health
from caravan_health.settings import Settings as HealthSettings
from caravan_health.store import Table as HealthTable
from caravan_shared.contracts.events import (
    EVENTS,
    BootstrapDone,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    EndpointWithdrawn,
    NodesRemoved,
)
from caravan_shared.contracts.facts import ClusterEvent, Event, NodeRef
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ClusterSpec
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.streams import FACTS
from caravan_shared.plumbing.tables import OUTBOX
from tests.integration.api.conftest import ready_facts
from tests.integration.bootstrapper.conftest import Subject, around
from tests.integration.health.conftest import Apiserver, apiserver, authority
from tests.promises.bus import nothing_waits
from tests.promises.sizes import DELETED_IN_DNS, DELETED_IN_HEALTH, DELETED_WHILE_MADE
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.store import lay_down

__all__ = ["apiserver", "authority"]  # fixtures of health's own tests

AT_ONCE = 20
RUNS_AT_ONCE = 3
LAST = 1_000_000
"""Sequence from which what is told last is counted."""
WITHIN_S = 60.0
MAKING_S = 5.0
"""A small cluster is made within about so many seconds."""
TOMBSTONES = {"clusters", "watched"}
SPEC = {"version": "1.34.1", "control_plane": {"count": 1}, "workers": [{"name": "workers", "count": 1}]}


class Cluster:
    """One cluster's life as the other services tell it: so much of the way to Ready, then its end."""

    def __init__(self, heard: int, late: type[ClusterEvent], change: Callable[[Event], Event]) -> None:
        self.id, self.heard, self.late, self._change = uuid4(), heard, late, change
        self.name = f"c{self.id.hex[:8]}"
        self._about = {"cluster_id": self.id, "team": "default", "name": self.name}

    def beginning(self) -> list[tuple[int, Event]]:
        """What was told before its end, with sequences."""
        return list(enumerate(map(self._change, way_to_ready(self.id, self.name)[: self.heard]), start=1))

    def end(self, dice: random.Random) -> list[tuple[int, Event]]:
        """It is to go, and its machines went; somewhere in between something of before arrives, once or twice."""
        removed = NodesRemoved(cluster_id=self.id, remaining=0, nodes=())
        told: list[Event] = [ClusterDeletionRequested(**self._about, announcement=1), removed]
        return self._with_late_ones(told, dice)

    def deleted(self, dice: random.Random) -> list[tuple[int, Event]]:
        """All is gone; and once more something arrives late."""
        return self._with_late_ones([ClusterDeleted(**self._about)], dice)

    def _with_late_ones(self, last: list[Event], dice: random.Random) -> list[tuple[int, Event]]:
        told = list(enumerate(last, start=LAST))
        for _ in range(dice.randint(1, 2)):
            event = self._change(self.late.model_validate({**self.late.example, **self._about}))
            told.insert(dice.randint(0, len(told)), (dice.randint(1, 100), event))
        return told


def way_to_ready(cluster_id: UUID, name: str) -> list[Event]:
    """All facts of it, in their order."""
    sets = [
        {"name": CONTROL_PLANE_SET, "role": "control-plane", "wanted": 1},
        {"name": "workers", "role": "worker", "wanted": 2},
    ]
    requested = ClusterRequested(
        cluster_id=cluster_id,
        team="default",
        name=name,
        generation=1,
        announcement=1,
        spec=ClusterSpec.model_validate(ClusterSpec.example),
    )
    return [requested, *ready_facts({"id": str(cluster_id), "name": name, "generation": 1, "node_sets": sets})]


STATES = range(len(way_to_ready(uuid4(), "c")) + 1)
"""How many of the facts were told."""
LATE = [kind for kind in EVENTS.values() if issubclass(kind, ClusterEvent) and kind is not ClusterDeleted]
"""`cluster.deleted` is the last word, after which something else may be late, never before its time."""


def _pairs(trial: Trial, change: Callable[[Event], Event]) -> Iterator[Cluster]:
    """Clusters in each state with each late event, in an order of this trial's own, again and again."""
    pairs = list(itertools.product(STATES, LATE))
    trial.dice.shuffle(pairs)
    trial.figures["pairs"] = len(pairs)
    return (Cluster(heard, late, change) for heard, late in itertools.cycle(pairs))


async def _tell(bus: Bus, told: list[tuple[int, Event]]) -> None:
    for sequence, event in told:
        await publish(bus, event, sequence)


async def _all_is_heard(bus: Bus) -> None:
    await eventually(partial(nothing_waits, bus, FACTS), within=WITHIN_S, every=0.1, saying="all is heard")


async def _begun(trial: Trial, pairs: Iterator[Cluster], bus: Bus) -> list[Cluster]:
    """The next clusters, once the service has heard of their beginnings."""
    batch = list(itertools.islice(pairs, trial.at_most(AT_ONCE)))
    for cluster in batch:
        await _tell(bus, cluster.beginning())
    await _all_is_heard(bus)
    return batch


async def _left(service: Service, metadata: MetaData, cluster_id: UUID) -> dict[str, int]:
    """How many rows about a cluster there are in which table, but for its tombstone."""
    tables = [table for table in metadata.sorted_tables if "cluster_id" in table.c and table.name not in TOMBSTONES]
    async with service.db.reading() as session:
        connection = await session.connection()
        counts = {
            table.name: await connection.scalar(
                select(func.count()).select_from(table).where(table.c.cluster_id == cluster_id)
            )
            for table in tables
        }
    return {name: count for name, count in counts.items() if count}


async def _nothing_is_left(service: Service, metadata: MetaData, cluster_ids: list[UUID]) -> None:
    async def nothing() -> bool:
        return not any([await _left(service, metadata, cluster_id) for cluster_id in cluster_ids])

    await eventually(nothing, within=WITHIN_S, every=0.1, saying="nothing of the clusters is left")


# --- dns -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _running(service: Service) -> AsyncIterator[Service]:
    await lay_down(service.db)
    async with service.running():
        yield service


@pytest.mark.promises(DELETED_IN_DNS)
async def test_dns_withdraws_every_name_and_keeps_no_key(trial: Trial, tmp_path: Path, nats_server: NatsServer) -> None:
    settings = DnsSettings(
        state_dir=tmp_path, nats_url=nats_server.url, http_port=free_port(), embedded_port=free_port()
    )
    pairs = _pairs(trial, lambda event: event)
    async with _running(build_dns(settings)) as dns:
        while trial.goes_on:
            batch = await _begun(trial, pairs, dns.bus)
            for cluster in batch:
                await _tell(dns.bus, cluster.end(trial.dice))
            withdrawn = partial(_are_withdrawn, dns, {str(cluster.id) for cluster in batch})
            await eventually(withdrawn, within=WITHIN_S, every=0.1, saying="every endpoint is withdrawn")
            for cluster in batch:
                await _tell(dns.bus, cluster.deleted(trial.dice))
            await _all_is_heard(dns.bus)
            await _nothing_is_left(dns, DnsTable.metadata, [cluster.id for cluster in batch])
            assert await _are_withdrawn(dns, {str(cluster.id) for cluster in batch}), "a name came back"
            assert await _records(dns) == []
            trial.did(len(batch))


async def _records(dns: Service) -> list[str]:
    async with dns.db.reading() as session:
        return list((await (await session.connection()).scalars(select(col(ZoneRecord.name)))).all())


async def _are_withdrawn(dns: Service, abouts: set[str]) -> bool:
    """The last that was said of each endpoint is that it is gone."""
    subjects = OUTBOX.c.subject.in_([EndpointIssued.subject, EndpointWithdrawn.subject])
    async with dns.db.reading() as session:
        rows = await (await session.connection()).execute(
            select(OUTBOX.c.about, OUTBOX.c.subject).where(subjects).order_by(OUTBOX.c.id)
        )
    last = {row.about: row.subject for row in rows}
    return all(last.get(about) == EndpointWithdrawn.subject for about in abouts)


# --- health --------------------------------------------------------------------------------------------------------


@pytest.mark.promises(DELETED_IN_HEALTH)
async def test_health_looks_at_no_deleted_cluster_and_keeps_nothing_of_it(
    trial: Trial, tmp_path: Path, nats_server: NatsServer, apiserver: Apiserver
) -> None:
    settings = HealthSettings(
        state_dir=tmp_path, nats_url=nats_server.url, http_port=free_port(), probe_every_s=0.3, probe_timeout_s=0.3
    )
    there = {
        "addresses": (apiserver.address,),
        "port": apiserver.port,
        "ca_certificate": apiserver.authority.ca_cert,
    }
    pairs = _pairs(trial, lambda event: event.model_copy(update=there) if isinstance(event, EndpointIssued) else event)
    looks = 0
    async with _running(build_health(settings)) as health:
        while trial.goes_on:
            batch = await _begun(trial, pairs, health.bus)
            await asyncio.sleep(trial.dice.uniform(0, 1))
            for cluster in batch:
                await _tell(health.bus, [*cluster.end(trial.dice), *cluster.deleted(trial.dice)])
            await _all_is_heard(health.bus)
            await _nothing_is_left(health, HealthTable.metadata, [cluster.id for cluster in batch])
            looks += len(apiserver.asked)
            await eventually(partial(_is_left_alone, apiserver), within=WITHIN_S, saying="no deleted cluster is asked")
            trial.did(len(batch))
    assert looks, "no cluster was ever looked at"
    trial.figures["looks"] = looks


async def _is_left_alone(apiserver: Apiserver) -> bool:
    apiserver.asked.clear()
    await asyncio.sleep(1)
    return not apiserver.asked


# --- the bootstrapper ----------------------------------------------------------------------------------------------


@pytest.mark.promises(DELETED_WHILE_MADE)
async def test_the_bootstrapper_ends_its_runs_and_keeps_nothing(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    """With real runs, a real dns and the sandbox's machines."""
    late = [kind for kind in HANDLERS if kind is not ClusterDeleted]
    async with around(nats_server.url, tmp_path) as world, world.bootstrapper() as service:
        while trial.goes_on:
            subjects = [Subject(world, service, SPEC) for _ in range(trial.at_most(RUNS_AT_ONCE))]
            await asyncio.gather(
                *(_is_made_and_deleted(random.Random(trial.dice.random()), subject, late) for subject in subjects)
            )
            await _all_is_heard(world.bus)
            await _nothing_is_left(service, BootstrapperTable.metadata, [subject.id for subject in subjects])
            await eventually(partial(_no_run_is_left, tmp_path / "tmpfs"), within=WITHIN_S, saying="no run is left")
            trial.did(len(subjects))


async def _is_made_and_deleted(dice: random.Random, subject: Subject, late: list[type[ClusterEvent]]) -> None:
    """It comes as far as it does; what is heard late is heard before its last word or after it."""
    names: list[str] = []
    if dice.random() < 0.9:
        await subject.request()
        names += await subject.make("workers", 1, pull=True) if dice.random() < 0.8 else []
        names += await subject.make(CONTROL_PLANE_SET, 1) if dice.random() < 0.9 else []
        await asyncio.sleep(dice.uniform(0, MAKING_S))
    if len(names) == 2 and dice.random() < 0.3:
        await subject.until(BootstrapDone)
        await subject.leave("workers", names[0])
        await asyncio.sleep(dice.uniform(0, 1))
    await subject.delete()
    gone = tuple(NodeRef(name=name, node_set=name.split("-", 1)[1].rsplit("-", 2)[0]) for name in names)
    about: dict[str, Any] = {"cluster_id": subject.id, "team": "default", "name": subject.name}
    last: list[Event] = [
        NodesRemoved(cluster_id=subject.id, remaining=0, nodes=gone),
        ClusterDeleted(**about),
    ]
    for _ in range(dice.randint(1, 2)):
        kind = dice.choice(late)
        last.insert(dice.randint(0, len(last)), kind.model_validate({**kind.example, **about}))
    for event in last:
        await asyncio.sleep(dice.uniform(0, 0.3))
        await subject.world.say(event)


def _no_run_is_left(runs: Path) -> bool:
    """Nor its files."""
    return not [path for path in runs.glob("caravan-runs-*/*") if "packed" not in path.parent.name]
