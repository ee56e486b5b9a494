"""The sweep at work on a real store and a real cloud, by a clock that a test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from caravan_provisioner import store
from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.check import CloudDesk
from caravan_provisioner.clouds.base import Cloud, MachineBatch, Owner
from caravan_provisioner.installation import Installation
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import Site, make_sites
from caravan_provisioner.sweep import Sweeper, Verdict
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.rounds import Rounds
from tests.support.eventually import eventually
from tests.support.store import migrated


@dataclass
class Hands:
    """A clock that a test moves."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Bench:
    """A sweeper with its cloud, its store and its clock."""

    cloud: Cloud
    site: Site
    db: Database
    clock: Hands
    settings: Settings
    sweeper: Sweeper

    def replica(self, name: str) -> Sweeper:
        """The sweeper of another replica on the same store."""
        return _sweeper(self.cloud, self.db, self.clock, self.settings, name)[1]

    @property
    def desk(self) -> CloudDesk:
        return CloudDesk({self.cloud.name: self.site}, self.db)

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

    async def until_left(self, cluster_id: UUID, count: int, within: float = 30) -> None:
        """Wait until so many machines of a cluster are left."""

        async def is_so() -> bool:
            return await self.left(cluster_id) == count

        await eventually(is_so, within=within, every=0.2, saying=f"{count} machines are left")


@asynccontextmanager
async def sweeping(cloud: Cloud, settings: Settings) -> AsyncIterator[Bench]:
    """A sweeper on a store of its own; whatever it leaves of its installation is deleted at the end."""
    assert settings.installation
    async with migrated(Database(settings.database_url, store.Table.metadata, MIGRATIONS)) as db:
        clock = Hands()
        site, sweeper = _sweeper(cloud, db, clock, settings, "one")
        yield Bench(cloud, site, db, clock, settings, sweeper)
        await cloud.delete([machine.id for machine in await cloud.machines(settings.installation)])


def _sweeper(cloud: Cloud, db: Database, clock: Hands, settings: Settings, replica: str) -> tuple[Site, Sweeper]:
    site = make_sites([cloud], clock, concurrency=1, rate_per_s=100)[cloud.name]
    installation, rounds = Installation(db, settings.installation), Rounds(db, clock, replica)
    return site, Sweeper([site], installation, db, clock, rounds, settings)
