"""Bearer tokens: everybody makes their own, an owner those of their team's members, and both take them back."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter
from sqlmodel import col, select

from caravan_api.access import Caller, Role, Viewer
from caravan_api.doors.rest.bodies import IssuedToken, NewToken, TokenView
from caravan_api.doors.rest.context import Page, Parts, Team, team_listed, team_of
from caravan_api.errors import Forbidden, Malformed, NotFound
from caravan_api.store import Token
from caravan_api.teams import directory
from caravan_api.teams.names import is_named_in, kind_of, service_user
from caravan_shared.contracts.facts import FieldProblem

router = APIRouter(prefix="/v1/tokens", tags=["teams"])


class Tokens(Page):
    """All tokens in use."""

    items: list[TokenView]


@router.post("", status_code=201)
async def issue(body: NewToken, caller: Viewer, api: Parts, team: Team = None) -> IssuedToken:
    """Make a token. Its text is in this answer and nowhere else.

    An owner's token for somebody who is not in the team yet adds them to it.
    """
    owner, user = team_of(caller, team), body.user or caller.user
    _check(caller, owner, user, body)
    async with api.db.transaction() as tx:
        now, kind = api.clock.now(), kind_of(user)
        member = await directory.member_named(tx, owner, user) or await directory.add(
            tx, owner, kind, user, body.role, by=caller.user, now=now
        )
        lasts = timedelta(seconds=body.lasts_s) if body.lasts_s else None
        token, text = await api.access.issue(tx, member, body.role, lasts, body.scopes)
        return IssuedToken(**_view(token).model_dump(), token=text)


@router.get("")
async def list_tokens(caller: Viewer, api: Parts, team: Team = None) -> Tokens:
    """Your tokens, an owner's: the team's, an admin's: all; those that have expired included."""
    statement = select(Token).where(col(Token.revoked_at).is_(None)).order_by(col(Token.created_at))
    if (meant := team_listed(caller, team)) is not None:
        statement = statement.where(Token.team == meant)
    if not caller.role.includes(Role.OWNER):
        statement = statement.where(Token.user == caller.user)
    async with api.db.reading() as session:
        rows = (await session.exec(statement)).all()
    return Tokens(items=[_view(row) for row in rows])


@router.delete("/{token_id}", status_code=204)
async def revoke(token_id: UUID, caller: Viewer, api: Parts, team: Team = None) -> None:
    """Make a token void at once."""
    async with api.db.transaction() as tx:
        found = (
            await tx.exec(select(Token).where(Token.id == token_id, col(Token.revoked_at).is_(None)))
        ).one_or_none()
        if found is None or not caller.sees(found.team) or not _governs(caller, found.user):
            raise NotFound("there is no such token of yours")
        found.revoked_at = api.clock.now()
        tx.add(found)


def _check(caller: Caller, team: str, user: str, body: NewToken) -> None:
    if user != caller.user and not is_named_in(user, team):
        problem, remedy = (
            f"nobody in the team {team} can be called so",
            f"a service account is {service_user(team, '<name>')}",
        )
        raise Malformed([FieldProblem(field="user", problem=problem, remedy=remedy)])
    if not _governs(caller, user):
        raise Forbidden(f"a token for somebody else needs the role {Role.OWNER}, and yours is {caller.role}")
    if not caller.role.includes(body.role):
        raise Forbidden(f"your role is {caller.role}: you cannot give the role {body.role}")
    if caller.scopes and not (body.scopes and caller.scopes.issuperset(body.scopes)):
        raise Forbidden(f"your own token is for {', '.join(sorted(caller.scopes))} only: name scopes among those")


def _governs(caller: Caller, user: str) -> bool:
    return user == caller.user or caller.role.includes(Role.OWNER)


def _view(token: Token) -> TokenView:
    return TokenView.model_validate(token, from_attributes=True)
