"""What an operator asks about clouds: is this one usable, what does the sweep have in mind there, may it go on?"""

from collections.abc import Mapping

from sqlmodel import col, select

from caravan_provisioner import store
from caravan_provisioner.clouds.base import Checkable, Cloud
from caravan_provisioner.clouds.offered import findings_of_offers
from caravan_provisioner.errors import UnknownCloud
from caravan_provisioner.site import Site
from caravan_provisioner.store import SweepSighting
from caravan_shared.contracts.requests import (
    AskCloudCheck,
    AskSweepRelease,
    AskSweepReport,
    CloudCheck,
    SweepReleased,
    SweepReport,
    SweepSighted,
)
from caravan_shared.plumbing.database import Database

_SIGHTINGS = 1000  # in one report; more leaks than that are a story of their own


class CloudDesk:
    """Answers `AskCloudCheck`, `AskSweepReport` and `AskSweepRelease`."""

    def __init__(self, sites: Mapping[str, Site], db: Database) -> None:
        self._sites, self._db = sites, db

    async def check(self, question: AskCloudCheck) -> CloudCheck:
        """Look at a cloud now. Raises `UnknownCloud`."""
        cloud = self._cloud(question.cloud)
        looked = await (cloud.check() if isinstance(cloud, Checkable) else findings_of_offers(cloud))
        return CloudCheck(cloud=cloud.name, kind=cloud.kind, findings=tuple(looked))

    async def sweep_report(self, question: AskSweepReport) -> SweepReport:
        """What the sweep saw of a cloud, newest first. Raises `UnknownCloud`."""
        cloud = self._cloud(question.cloud)
        statement = (
            select(SweepSighting)
            .where(SweepSighting.cloud == cloud.name)
            .order_by(col(SweepSighting.last_seen_at).desc(), SweepSighting.machine_id)
            .limit(_SIGHTINGS)
        )
        async with self._db.reading() as session:
            rows = (await session.exec(statement)).all()
        return SweepReport(items=tuple(SweepSighted.model_validate(row.model_dump()) for row in rows))

    async def release_sweep(self, _question: AskSweepRelease) -> SweepReleased:
        """Let the sweep take machines of unknown clusters for leaks again, on every cloud."""
        async with self._db.transaction() as tx:
            was_held = await store.sweep_is_held(tx)
            await store.release_sweep(tx)
        return SweepReleased(was_held=was_held)

    def _cloud(self, name: str) -> Cloud:
        if name not in self._sites:
            raise UnknownCloud(name, sorted(self._sites))
        return self._sites[name].cloud
