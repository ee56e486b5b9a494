"""The sweep on a real store and a real sandbox process."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.integration.provisioner.conftest import Sandbox
from tests.support.eventually import eventually

from caravan_provisioner import store
from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.check import CloudDesk
from caravan_provisioner.clouds.base import MachineBatch, Owner
from caravan_provisioner.clouds.sandbox import SandboxCloud
from caravan_provisioner.errors import UnknownCloud
from caravan_provisioner.installation import Installation
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import Site, make_sites
from caravan_provisioner.sweep import Sweeper, Verdict
from caravan_shared.contracts.requests import AskCloudCheck, AskSweepRelease, AskSweepReport
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.database import Database


@dataclass
class Hands:
    """A clock that a test moves."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Bench:
    """A sweeper with its cloud, its store and its clock."""

    cloud: SandboxCloud
    site: Site
    db: Database
    clock: Hands
    settings: Settings
    sweeper: Sweeper

    @property
    def desk(self) -> CloudDesk:
        return CloudDesk({"sandbox": self.site}, self.db)

    @property
    def installation(self) -> str:
        assert self.settings.installation
        return self.settings.installation

    async def make(self, cluster_id: UUID, count: int, installation: str | None = None) -> None:
        owner = Owner(installation or self.installation, cluster_id, "workers", Role.WORKER, "k3x9")
        await self.cloud.create(MachineBatch("x-workers-k3x9", tuple(range(1, count + 1)), "small", owner))

    async def know(self, cluster_id: UUID, *, deleted: bool = False) -> None:
        at = self.clock.now()
        async with self.db.transaction() as tx:
            tx.add(
                store.Cluster(
                    cluster_id=cluster_id, team="t", name="x", heard_at=at, deleted_at=at if deleted else None
                )
            )

    async def sweep(self) -> list[Verdict]:
        self.clock.at += timedelta(hours=1)
        return [sighting.verdict for sighting in await self.sweeper.sweep(self.site)]

    async def left(self, cluster_id: UUID) -> int:
        listed = await self.cloud.machines(self.installation)
        return sum(machine.owner is not None and machine.owner.cluster_id == cluster_id for machine in listed)


@pytest.fixture
async def bench(sandbox: Sandbox, sandbox_cloud: SandboxCloud, settings: Settings) -> AsyncIterator[Bench]:
    db = Database(settings.database_url, store.Table.metadata, MIGRATIONS)
    await db.start()
    clock = Hands()
    site = make_sites([sandbox_cloud], clock, concurrency=1, rate_per_s=100)["sandbox"]
    sweeper = Sweeper([site], Installation(db, settings.installation), db, clock, settings)
    yield Bench(sandbox_cloud, site, db, clock, settings, sweeper)
    assert settings.installation
    await sandbox_cloud.delete([machine.id for machine in await sandbox_cloud.machines(settings.installation)])
    await db.stop()


async def test_leak_of_a_deleted_cluster_is_gone_after_two_sweeps_and_listed_meanwhile(bench: Bench) -> None:
    live, deleted = uuid4(), uuid4()
    await bench.know(live)
    await bench.know(deleted, deleted=True)
    await bench.make(live, 9)
    await bench.make(deleted, 1)
    assert await bench.sweep() == [Verdict.WAIT]
    assert await bench.left(deleted) == 1
    (sighting,) = (await bench.desk.sweep_report(AskSweepReport(cloud="sandbox"))).items
    assert (sighting.cluster_id, sighting.reason) == (deleted, "its cluster was deleted")
    assert sighting.verdict == Verdict.WAIT
    assert await bench.sweep() == [Verdict.DELETE]

    async def is_gone() -> bool:
        return await bench.left(deleted) == 0

    await eventually(is_gone)
    assert await bench.left(live) == 9


async def test_sweep_of_a_restored_store_keeps_unknown_clusters_until_it_is_released(bench: Bench) -> None:
    live, unknown = uuid4(), uuid4()
    await bench.know(live)
    await bench.make(live, 3)
    await bench.make(unknown, 1)
    async with bench.db.transaction() as tx:
        await store.hold_sweep(tx, bench.clock.now())
    assert [await bench.sweep() for _ in range(3)] == [[Verdict.HELD]] * 3
    assert (await bench.desk.release_sweep(AskSweepRelease())).was_held
    assert not (await bench.desk.release_sweep(AskSweepRelease())).was_held
    assert await bench.sweep() == [Verdict.DELETE]


async def test_empty_store_and_foreign_installations_cost_no_machine(bench: Bench) -> None:
    unknown, foreign = uuid4(), f"theirs-{uuid4()}"
    await bench.make(unknown, 5)
    await bench.make(unknown, 5, installation=foreign)
    for _ in range(3):
        assert set(await bench.sweep()) == {Verdict.DOUBT}
    assert await bench.left(unknown) == 5
    theirs = await bench.cloud.machines(foreign)
    assert len(theirs) == 5
    await bench.cloud.delete([machine.id for machine in theirs])


async def test_cloud_that_only_has_offers_is_checked_by_them(bench: Bench) -> None:
    check = await bench.desk.check(AskCloudCheck(cloud="sandbox"))
    assert (check.kind, check.usable) == ("sandbox", True)
    assert [finding.about for finding in check.findings] == ["api", "machine types", "quota"]
    with pytest.raises(UnknownCloud, match="configured: sandbox"):
        await bench.desk.check(AskCloudCheck(cloud="nowhere"))
