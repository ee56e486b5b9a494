"""The inventories' desk and custody on each database; and a cluster whose sets are on two clouds."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.base import MachineBatch, Owner
from caravan_provisioner.clouds.static import StaticCloud, StaticConfig
from caravan_provisioner.desk import MachineDesk
from caravan_provisioner.settings import Settings
from caravan_provisioner.store import Table
from caravan_shared.contracts.events import MachinesHandedBack, MachinesHandedOver, NodesFailed, NodesRemoved
from caravan_shared.contracts.machines import MachineEntry, MachineView, MachineWork, WorkedMachine
from caravan_shared.contracts.requests import (
    AskMachineChange,
    AskMachineImport,
    AskMachineRelease,
    AskMachineRemoval,
    AskMachines,
    Refusal,
)
from caravan_shared.contracts.spec import ClusterSpec, ControlPlane, Role, WorkerSet
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing
from tests.integration.provisioner.conftest import Asker, Provisioner
from tests.support.eventually import eventually
from tests.support.inventory import by_state, entry, stock, work_once, working
from tests.support.outbox import said
from tests.support.store import migrated


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A store without machines."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield db


@pytest.fixture
def told() -> list[str]:
    """The clouds that were said to have changed."""
    return []


@pytest.fixture
def desk(db: Database, told: list[str]) -> MachineDesk:
    """The desk of one inventory."""

    async def changed(cloud: str) -> None:
        told.append(cloud)

    return MachineDesk(db, SystemClock(), ["metal"], changed)


async def take_in(desk: MachineDesk, *entries: MachineEntry) -> tuple[MachineView, ...]:
    answer = await desk.take_in(AskMachineImport(entries=entries))
    assert answer.refusal is None, answer
    return answer.items


async def test_import_is_all_or_nothing_and_may_be_repeated(desk: MachineDesk, told: list[str]) -> None:
    (first,) = await take_in(desk, entry(1))
    assert (first.state, told) == (InventoryState.CHECKING, ["metal"])
    refused = await desk.take_in(AskMachineImport(entries=(entry(2), entry(3, address="10.1.0.1"))))
    assert (refused.refusal, [problem.field for problem in refused.problems]) == (
        Refusal.PROBLEMS,
        ["machines.1.address"],
    )
    assert [machine.entry.name for machine in (await desk.list(AskMachines())).items] == ["rack-0001"]
    again = await take_in(desk, entry(1), entry(2))
    assert again[0] == first, "what is there as given stays as it is"
    looked = await desk.take_in(AskMachineImport(entries=(entry(9),), only_look=True))
    assert looked.problems == ()
    assert len((await desk.list(AskMachines())).items) == 2


async def test_machines_are_listed_by_name_and_filter(desk: MachineDesk, db: Database) -> None:
    await take_in(desk, *(entry(number) for number in range(5)), entry(7, machine_type="large"))
    page = await desk.list(AskMachines(limit=2, after="rack-0001"))
    assert [machine.entry.name for machine in page.items] == ["rack-0002", "rack-0003"]
    assert page.more
    large = await desk.list(AskMachines(machine_type="large", cloud="metal", state=InventoryState.CHECKING))
    assert [machine.entry.name for machine in large.items] == ["rack-0007"]


async def test_who_looked_too_long_ago_changes_nothing(desk: MachineDesk, db: Database) -> None:
    (machine,) = await take_in(desk, entry(1))
    await work_once(db)
    for asked in (
        desk.change(AskMachineChange(version=machine.version, entry=entry(1, cpus=8))),
        desk.remove(AskMachineRemoval(name="rack-0001", version=machine.version)),
        desk.release(AskMachineRelease(name="rack-0001", version=machine.version, wipe=False)),
    ):
        assert (await asked).refusal is Refusal.STALE
    unknown = await desk.remove(AskMachineRemoval(name="rack-0009", version=1))
    assert unknown.refusal is Refusal.UNKNOWN


async def test_machine_that_is_reached_otherwise_is_looked_at_again(desk: MachineDesk, db: Database) -> None:
    await take_in(desk, entry(1))
    await work_once(db)
    (machine,) = (await desk.list(AskMachines())).items
    assert machine.state is InventoryState.AVAILABLE
    relabelled = await desk.change(AskMachineChange(version=machine.version, entry=entry(1, labels={"rack": "2"})))
    assert relabelled.items[0].state is InventoryState.AVAILABLE
    moved = await desk.change(
        AskMachineChange(version=relabelled.items[0].version, entry=entry(1, address="10.1.1.1", labels={"rack": "2"}))
    )
    assert moved.items[0].state is InventoryState.CHECKING


async def test_cluster_keeps_the_machine_that_it_has(desk: MachineDesk, db: Database) -> None:
    await stock(db, 1)
    cloud = StaticCloud("metal", StaticConfig(), db, SystemClock(), KeyRing({}, ""))
    owner = Owner("mine", uuid4(), "workers", Role.WORKER, "k3x9")
    await cloud.create(MachineBatch("c-workers-k3x9", (1,), "small", owner))
    (machine,) = (await desk.list(AskMachines())).items
    name, version = machine.entry.name, machine.version
    removed = await desk.remove(AskMachineRemoval(name=name, version=version))
    moved = await desk.change(AskMachineChange(version=version, entry=entry(0, address="10.1.1.1")))
    released = await desk.release(AskMachineRelease(name=name, version=version, wipe=True))
    assert [answer.refusal for answer in (removed, moved, released)] == [Refusal.STATE] * 3
    relabelled = await desk.change(AskMachineChange(version=version, entry=entry(0, labels={"rack": "2"})))
    assert relabelled.refusal is None


async def test_quarantine_ends_by_a_look_or_by_a_wipe(desk: MachineDesk, db: Database) -> None:
    await take_in(desk, entry(1))
    await work_once(db, lambda machine: "it is a node of another cluster already")
    (machine,) = (await desk.list(AskMachines())).items
    assert (machine.state, machine.reason) == (InventoryState.QUARANTINED, "it is a node of another cluster already")
    looked = await desk.release(AskMachineRelease(name="rack-0001", version=machine.version, wipe=False))
    assert (looked.items[0].state, looked.items[0].reason) == (InventoryState.CHECKING, None)
    await work_once(db, lambda machine: "still so")
    (machine,) = (await desk.list(AskMachines())).items
    wiped = await desk.release(AskMachineRelease(name="rack-0001", version=machine.version, wipe=True))
    assert wiped.items[0].state is InventoryState.CLEANING
    await work_once(db)
    (machine,) = (await desk.list(AskMachines())).items
    assert machine.state is InventoryState.AVAILABLE
    assert machine.checked_at


async def test_silent_bootstrapper_is_asked_again_and_old_answers_are_void(desk: MachineDesk, db: Database) -> None:
    await take_in(desk, entry(1))
    (first,) = await said(db, MachinesHandedOver)
    later = datetime.now(UTC) + timedelta(seconds=61)
    async with db.transaction() as tx:
        assert await static_inventory.ask_again(tx, later - timedelta(seconds=60), later) == 1
    (_, second) = await said(db, MachinesHandedOver)
    assert second == first, "the same ticket: what was done already is not done again"
    stale = WorkedMachine(id=first.machines[0].id, ticket=first.machines[0].ticket - 1)
    async with db.transaction() as tx:
        await static_inventory.note(tx, MachinesHandedBack(work=MachineWork.CHECK, machines=(stale,)), later)
    assert len(await by_state(db, InventoryState.CHECKING)) == 1


async def test_sets_of_one_cluster_come_from_their_own_clouds(provisioner: Provisioner, settings: Settings) -> None:
    clouds = {"metal": StaticConfig(), "rack": StaticConfig()}
    mixed = Provisioner(provisioner.around, settings.model_copy(update={"clouds": clouds}))
    async with mixed.running() as service, working(service.db):
        await stock(service.db, 2)
        async with service.db.transaction() as tx:
            other = [entry(number, cloud="rack") for number in range(100, 103)]
            await static_inventory.take_in(tx, other, {}, datetime.now(UTC))
        await eventually(lambda: _free(service.db, 5), saying="all machines free")

        asker = mixed.asker(service)
        await _want(asker, cloud="metal", workers="rack", count=2)
        made = await asker.made()
        names = {row.node: row.cloud for row in await by_state(service.db, InventoryState.CLAIMED)}
        assert {names[node.name] for node in made["control-plane"]} == {"metal"}
        assert {names[node.name] for node in made["workers"]} == {"rack"}
        assert all(node.host_keys for nodes in made.values() for node in nodes)

        # A set stays where it is, whatever a later spec says.
        await _want(asker, cloud="metal", workers="metal", count=3)
        failed = await asker.until_told(NodesFailed)
        assert "cannot move" in failed[-1].nodes[0].reason

        await asker.delete()
        await asker.until_told(NodesRemoved, lambda events: events[-1].remaining == 0 if events else False)
        await eventually(lambda: _free(service.db, 5), saying="all machines free again")


async def _want(asker: Asker, *, cloud: str, workers: str, count: int) -> None:
    asker.generation += 1
    asker.spec = ClusterSpec(
        version="1.34.2",
        cloud=cloud,
        control_plane=ControlPlane(count=1, machine_type="small"),
        workers=(WorkerSet(count=count, machine_type="small", cloud=workers),),
    )
    await asker.announce()


async def _free(db: Database, count: int) -> bool:
    return len(await by_state(db, InventoryState.AVAILABLE)) == count
