"""Teams: an admin makes them and says how much they may have; everybody sees their own."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Admin, Identified
from caravan_api.doors.rest.bodies import ChangeTeam, NewTeam
from caravan_api.doors.rest.context import After, Limit, Page, Parts, Team
from caravan_api.errors import Conflict, NotFound
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.pools.store import Pool
from caravan_api.store import Cluster
from caravan_api.teams import store
from caravan_api.teams.directory import dissolve
from caravan_api.teams.quotas import clusters_of, locked_team, open_leases
from caravan_shared.contracts.spec import TeamName

router = APIRouter(prefix="/v1/teams", tags=["teams"])


class Used(BaseModel):
    """What a team has."""

    clusters: int
    nodes: int
    leases: int


class TeamView(BaseModel):
    """A team and its quota; null is no limit."""

    name: TeamName
    max_clusters: int | None
    max_nodes: int | None
    max_leases: int | None
    created_by: str
    created_at: datetime


class TeamDetail(TeamView):
    """A team, and what it has of its quota."""

    used: Used


class TeamPage(Page):
    """A page of teams, by name."""

    items: list[TeamView]


@router.post("", status_code=201)
async def create(body: NewTeam, caller: Admin, api: Parts, team: Team = None) -> TeamDetail:
    """Make a team. Then add its members."""
    async with api.db.transaction() as tx:
        if await tx.get(store.Team, body.name):
            raise Conflict(f"there is a team {body.name} already")
        made = store.Team(**body.model_dump(), created_by=caller.user, created_at=api.clock.now())
        tx.add(made)
        await tx.flush()
        return await _detail(tx, made)


@router.get("")
async def list_teams(
    known: Identified,
    api: Parts,
    team: Team = None,
    limit: Limit = None,
    after: After = None,
) -> TeamPage:
    """The teams that you belong to (an admin's: all), by name."""
    size = limit or api.settings.page_size
    statement = select(store.Team).order_by(col(store.Team.name)).limit(size + 1)
    if not known.is_admin:
        statement = statement.where(col(store.Team.name).in_(known.roles))
    if after:
        statement = statement.where(col(store.Team.name) > decode_cursor(after, str)[0])
    async with api.db.reading() as session:
        rows = (await session.exec(statement)).all()
    return TeamPage(
        items=[_view(row) for row in rows[:size]],
        next=encode_cursor(rows[size - 1].name) if len(rows) > size else None,
    )


@router.get("/{name}")
async def get(name: str, known: Identified, api: Parts, team: Team = None) -> TeamDetail:
    """One team, and what it has of its quota."""
    async with api.db.reading() as session:
        found = await session.get(store.Team, name) if name in known.roles or known.is_admin else None
        if found is None:
            raise NotFound("there is no such team that you belong to")
        return await _detail(session, found)


@router.patch("/{name}")
async def change(name: str, body: ChangeTeam, _caller: Admin, api: Parts, team: Team = None) -> TeamDetail:
    """Change a team's quota. What it has beyond a smaller one stays; it gets no more."""
    async with api.db.transaction() as tx:
        found = await locked_team(tx, name)
        found.sqlmodel_update(body.model_dump(exclude_unset=True))
        tx.add(found)
        await tx.flush()
        return await _detail(tx, found)


@router.delete("/{name}", status_code=204)
async def delete(name: str, _caller: Admin, api: Parts, team: Team = None) -> None:
    """Dissolve a team that has nothing any more; its members' tokens for it open nothing from then on."""
    async with api.db.transaction() as tx:
        found = await locked_team(tx, name)
        for what, table in (("clusters", Cluster), ("pools", Pool)):
            live = select(func.count()).where(table.team == name, col(table.deleted_at).is_(None))
            if left := (await tx.exec(live)).one():
                raise Conflict(f"the team {name} has {left} {what}: delete them first")
        await dissolve(tx, found, api.clock.now())


def _view(team: store.Team) -> TeamView:
    return TeamView.model_validate(team, from_attributes=True)


async def _detail(session: AsyncSession, team: store.Team) -> TeamDetail:
    has = await clusters_of(session, team.name)
    used = Used(clusters=has.clusters, nodes=has.nodes, leases=await open_leases(session, team.name))
    return TeamDetail(**_view(team).model_dump(), used=used)
