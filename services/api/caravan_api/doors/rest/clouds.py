"""The clouds, for those who run them: is one usable, and what does the sweep have in mind? The provisioner looks."""

from fastapi import APIRouter
from pydantic import BaseModel

from caravan_api.access import Admin
from caravan_api.audit.recording import Action, Thing, note
from caravan_api.doors.rest.context import Parts, Team
from caravan_shared.contracts.facts import Finding
from caravan_shared.contracts.requests import (
    AskCloudCheck,
    AskSweepRelease,
    AskSweepReport,
    CloudCheck,
    SweepReleased,
    SweepReport,
    SweepSighted,
)

router = APIRouter(prefix="/v1", tags=["machines"])


class CloudCheckView(BaseModel):
    """Whether a cloud is usable, and all that was looked at."""

    cloud: str
    kind: str
    usable: bool
    findings: list[Finding]


class SweepPage(BaseModel):
    """Machines that seem to belong to no cluster, and what happens to each; nothing is deleted before it is listed."""

    items: list[SweepSighted]


class SweepReleasedView(BaseModel):
    """Whether the sweep had been held since a restore."""

    was_held: bool


@router.get("/clouds/{cloud}/check")
async def check(cloud: str, _caller: Admin, api: Parts, team: Team = None) -> CloudCheckView:
    """Look at a cloud now: login, quota, flavors, images, networks, DNS, limits. Makes nothing."""
    found = await api.ask(AskCloudCheck(cloud=cloud), CloudCheck)
    return CloudCheckView(cloud=found.cloud, kind=found.kind, usable=found.usable, findings=list(found.findings))


@router.get("/clouds/{cloud}/sweep")
async def sweep(cloud: str, _caller: Admin, api: Parts, team: Team = None) -> SweepPage:
    """What the sweep of a cloud saw in the last days and what it does about it, newest first."""
    return SweepPage(items=list((await api.ask(AskSweepReport(cloud=cloud), SweepReport)).items))


@router.post("/sweep/release")
async def release_sweep(_caller: Admin, api: Parts, team: Team = None) -> SweepReleasedView:
    """After a restore from a backup: have the sweeps of all clouds delete machines of unknown clusters again."""
    released = await api.ask(AskSweepRelease(), SweepReleased)
    async with api.db.transaction() as tx:
        note(tx, Thing("sweep", "all", "all clouds", None), Action.CHANGE, {"released": True})
    return SweepReleasedView(was_held=released.was_held)
