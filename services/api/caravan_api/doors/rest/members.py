"""Members of a team: people, groups of the identity provider, service accounts; and what each may do."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlmodel import col, select

from caravan_api.access import Caller, Owner, Role, Viewer
from caravan_api.doors.rest.bodies import PlaceMember
from caravan_api.doors.rest.context import Api, Page, Parts, Team, team_of
from caravan_api.doors.rest.grants import taken_back
from caravan_api.errors import Forbidden, Malformed, NotFound
from caravan_api.teams import directory
from caravan_api.teams.names import user_of
from caravan_api.teams.store import Member, MemberKind
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import TeamName

router = APIRouter(prefix="/v1/members", tags=["teams"])


class MemberView(BaseModel):
    """Somebody's place in a team."""

    team: TeamName
    kind: MemberKind
    user: str = Field(description="As timelines, kubeconfigs and the audit name them.")
    role: Role
    added_by: str
    added_at: datetime


class Members(Page):
    """All members of a team."""

    items: list[MemberView]


@router.get("")
async def list_members(caller: Viewer, api: Parts, team: Team = None) -> Members:
    """Who belongs to your team, and what they may do."""
    statement = select(Member).where(Member.team == team_of(caller, team)).order_by(col(Member.kind), col(Member.user))
    async with api.db.reading() as session:
        return Members(items=[_view(row) for row in (await session.exec(statement)).all()])


@router.put("/{kind}/{name:path}")
async def place(
    kind: MemberKind, name: str, body: PlaceMember, caller: Owner, api: Parts, team: Team = None
) -> MemberView:
    """Add somebody to your team, or change what they may do in it; from their next request on."""
    owner = team_of(caller, team)
    _check_rank(caller, body.role)
    async with api.db.transaction() as tx:
        user = _user(kind, owner, name)
        member = await tx.get(Member, (owner, kind, user), with_for_update=True)
        if member is None:
            now = api.clock.now()
            return _view(await directory.add(tx, owner, kind, user, body.role, by=caller.user, now=now))
        _check_rank(caller, Role(member.role))
        member.role = body.role
        tx.add(member)
        return _view(member)


@router.delete("/{kind}/{name:path}", status_code=204)
async def remove(kind: MemberKind, name: str, caller: Owner, api: Parts, team: Team = None) -> None:
    """Take somebody out of your team: their tokens for it open nothing from then on, their kubeconfigs are revoked.

    Those are the kubeconfigs of the team's own clusters, and of those that it leases from other teams' pools.

    Of a group's people that is so for what they ask from then on: who they are, only their tokens tell.
    """
    owner = team_of(caller, team)
    user = _user(kind, owner, name)
    was_member = await _remove(api, caller, (owner, kind, user))
    # Asked also of those who are out already: the first time it may not have come to that.
    had_access = kind is not MemberKind.GROUP and await _had_access(api, owner, user)
    if not was_member and not had_access:
        raise NotFound("there is no such member in your team")


async def _remove(api: Api, caller: Caller, key: tuple[str, MemberKind, str]) -> bool:
    async with api.db.transaction() as tx:
        member = await tx.get(Member, key, with_for_update=True)
        if member is None:
            return False
        _check_rank(caller, Role(member.role))
        await directory.remove(tx, member, api.clock.now())
        return True


async def _had_access(api: Api, team: str, user: str) -> bool:
    """Take back what they hold; True if that was anything."""
    return bool((await taken_back(api, user, team)).items)


def _check_rank(caller: Caller, role: Role) -> None:
    if not caller.role.includes(role):
        raise Forbidden(f"only an {Role.ADMIN} makes or unmakes an {role}")


def _user(kind: MemberKind, team: str, name: str) -> str:
    user = user_of(kind, team, name)
    if user is None:
        remedy = "use lower-case letters, digits and '-'" if kind is MemberKind.SERVICE else "use printable characters"
        raise Malformed([FieldProblem(field="name", problem=f"no {kind} can have this name", remedy=remedy)])
    return user


def _view(member: Member) -> MemberView:
    return MemberView.model_validate(member, from_attributes=True)
