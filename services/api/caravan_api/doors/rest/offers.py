"""What can be asked for, and who is asking."""

from fastapi import APIRouter
from pydantic import BaseModel

from caravan_api.access import Role, Viewer
from caravan_api.doors.rest.context import Parts, Team
from caravan_api.offers import offered_clouds, offered_versions
from caravan_shared.contracts.events import CloudOffered

router = APIRouter(prefix="/v1", tags=["offers"])


class Versions(BaseModel):
    """Kubernetes versions, newest first."""

    items: list[str]


class Clouds(BaseModel):
    """Clouds with their machine types and quota."""

    items: list[CloudOffered]


class WhoAmI(BaseModel):
    """The caller as the api knows them."""

    user: str
    team: str
    role: Role


@router.get("/versions")
async def versions(_caller: Viewer, api: Parts, team: Team = None) -> Versions:
    """The Kubernetes versions that a cluster can have."""
    async with api.db.reading() as session:
        return Versions(items=list(await offered_versions(session)))


@router.get("/clouds")
async def clouds(_caller: Viewer, api: Parts, team: Team = None) -> Clouds:
    """The clouds that machines can come from."""
    async with api.db.reading() as session:
        return Clouds(items=list((await offered_clouds(session)).values()))


@router.get("/whoami")
async def whoami(caller: Viewer, team: Team = None) -> WhoAmI:
    """Whom your token stands for."""
    return WhoAmI(user=caller.user, team=caller.team, role=caller.role)
