"""What can be asked for, and who is asking."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from caravan_api.access import Identified, Role, Scope, Viewer
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
    team: str | None = Field(description="The team that a request of yours is about; null: you have to name one.")
    role: Role | None
    teams: dict[str, Role] = Field(description="All that you belong to, and what you may do there.")
    scopes: list[Scope] = Field(description="What your token is limited to; empty: to nothing.")


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
async def whoami(known: Identified, team: Team = None) -> WhoAmI:
    """Whom your token stands for."""
    caller = known.within(team)
    return WhoAmI(
        user=known.user,
        team=caller.team if caller else None,
        role=caller.role if caller else None,
        teams=known.roles,
        scopes=sorted(known.scopes),
    )
