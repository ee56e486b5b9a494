"""Is the installation well, and what is to be mended? For those who run it."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from caravan_api.access import Admin
from caravan_api.decide.doctor import is_well
from caravan_api.doors.rest.context import Parts, Team
from caravan_shared.contracts.facts import Finding
from caravan_shared.plumbing.versions import version_of

router = APIRouter(prefix="/v1/doctor", tags=["machines"])


class Examination(BaseModel):
    """All that was looked at, and what it comes to."""

    well: bool = Field(description="Nothing is fatal; warnings may stand beside it.")
    version: str = Field(description="The api's.")
    findings: list[Finding]


@router.get("")
async def examine(_caller: Admin, api: Parts, team: Team = None) -> Examination:
    """Look at everything now, which takes seconds: services, clocks, stores, NATS, clouds, what expires, disks."""
    findings = await api.doctor.examine()
    return Examination(well=is_well(findings), version=version_of("api"), findings=findings)
