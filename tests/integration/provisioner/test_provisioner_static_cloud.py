"""The static cloud passes the suite of all clouds, and no machine is ever claimed twice, on each database."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds.base import Cloud, CloudMachineState, QuotaExceeded
from caravan_provisioner.clouds.static import StaticCloud, StaticConfig
from caravan_provisioner.store import Table
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing
from tests.contracts.cloud_suite import CloudSuite
from tests.support import claimer
from tests.support.inventory import by_state, stock, stock_with_bmcs, work_once, working
from tests.support.redfish import Redfish
from tests.support.store import migrated


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A store without machines."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        yield db


@pytest.fixture
async def metal(db: Database, keys: KeyRing) -> AsyncIterator[StaticCloud]:
    """The adapter on that store."""
    cloud = StaticCloud("metal", StaticConfig(), db, SystemClock(), keys)
    yield cloud
    await cloud.close()


class TestStaticCloud(CloudSuite):
    """The suite, with hands that prepare and clean machines at once."""

    names_are_unique = True

    @pytest.fixture
    async def cloud(self, metal: StaticCloud, db: Database, redfish: Redfish, keys: KeyRing) -> AsyncIterator[Cloud]:
        """As many machines as the largest batch wants, each with a BMC."""
        await stock_with_bmcs(db, metal.capabilities.max_batch, redfish, keys)
        async with working(db):
            yield metal

    async def test_machines_let_go_are_free_again_only_when_they_are_clean(
        self, metal: StaticCloud, db: Database
    ) -> None:
        await stock(db, 1)
        batch = self.batch(installation := f"suite-{uuid4()}", 1)
        (claimed,) = await metal.create(batch)
        await metal.delete([claimed.id])
        with pytest.raises(QuotaExceeded) as refused:
            await metal.create(self.batch("another", 1))
        assert (refused.value.need, refused.value.free) == (1, 0)
        assert [machine.id for machine in await metal.machines(installation)] == [claimed.id]
        await work_once(db)
        assert await metal.machines(installation) == []
        assert [machine.id for machine in await metal.create(self.batch("another", 1))] == [claimed.id]

    async def test_machine_that_cannot_be_wiped_is_in_quarantine_and_nobodys(
        self, metal: StaticCloud, db: Database
    ) -> None:
        await stock(db, 1)
        (claimed,) = await metal.create(self.batch("mine", 1))
        await metal.delete([claimed.id])
        await work_once(db, lambda machine: f"{machine.name} cannot be reached")
        assert await metal.machines("mine") == []
        (locked_away,) = await by_state(db, InventoryState.QUARANTINED)
        assert locked_away.reason == "rack-0000 cannot be reached"
        with pytest.raises(QuotaExceeded):
            await metal.create(self.batch("mine", 2))

    async def test_machine_that_cannot_be_prepared_is_listed_as_broken(self, metal: StaticCloud, db: Database) -> None:
        await stock(db, 1)
        await metal.create(self.batch("mine", 1))
        await work_once(db, lambda machine: "its key is another")
        (machine,) = await metal.machines("mine")
        assert (machine.state, machine.fault) == (CloudMachineState.ERROR, "rack-0000: its key is another")

    async def test_too_few_free_machines_claim_none(self, metal: StaticCloud, db: Database) -> None:
        await stock(db, 2)
        with pytest.raises(QuotaExceeded) as refused:
            await metal.create(self.batch("mine", 1, 2, 3))
        assert (refused.value.need, refused.value.free) == (3, 2)
        assert await metal.machines("mine") == []


async def test_hundred_claims_of_several_processes_never_share_a_machine(db: Database, database_url: str) -> None:
    await stock(db, 120)
    processes = [await _claimer(database_url, start, start + 50, size=2) for start in (0, 50)]
    told = b"".join([(await process.communicate())[0] for process in processes]).decode().splitlines()
    assert [process.returncode for process in processes] == [0, 0]
    claims = {line.split()[0]: line.split()[1:] for line in told}
    assert len(claims) == 100
    got = {cluster: ids for cluster, ids in claims.items() if ids != ["refused"]}
    assert len(got) == 60, "all that can be had is had"
    assert max(Counter(machine for ids in got.values() for machine in ids).values()) == 1
    rows = await by_state(db, InventoryState.CLAIMED)
    assert {(str(row.cluster_id.int), str(row.id)) for row in rows if row.cluster_id} == {
        (cluster, machine) for cluster, ids in got.items() for machine in ids
    }


async def test_repeated_claim_gives_the_same_machines_though_the_first_died_in_the_middle(
    db: Database, database_url: str, metal: StaticCloud
) -> None:
    await stock(db, 60)
    process = await _claimer(database_url, 0, 30, size=2)
    assert process.stdout
    told = [(await process.stdout.readline()).decode()]
    process.kill()
    told += (await process.stdout.read()).decode().splitlines()
    await process.wait()
    before = {line.split()[0]: line.split()[1:] for line in told if line.strip()}
    claimed = {cluster: await metal.create(claimer.batch(cluster, 2)) for cluster in range(30)}
    for cluster, machines in before.items():
        assert [machine.id for machine in claimed[int(cluster)]] == machines
    assert len({machine.id for machines in claimed.values() for machine in machines}) == 60
    again = await asyncio.gather(*(metal.create(claimer.batch(cluster, 2)) for cluster in range(30)))
    assert [[machine.id for machine in machines] for machines in again] == [
        [machine.id for machine in claimed[cluster]] for cluster in range(30)
    ]


async def _claimer(database_url: str, start: int, end: int, *, size: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.claimer",
        database_url,
        str(start),
        str(end),
        str(size),
        stdout=asyncio.subprocess.PIPE,
    )
