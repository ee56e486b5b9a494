"""Bearer tokens: an admin gives people in a team theirs, and takes them back."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter
from sqlmodel import col, select

from caravan_api.access import Admin
from caravan_api.doors.rest.bodies import IssuedToken, NewToken, TokenView
from caravan_api.doors.rest.context import Page, Parts, Team
from caravan_api.errors import NotFound
from caravan_api.store import Token

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


class Tokens(Page):
    """All tokens in use."""

    items: list[TokenView]


@router.post("", status_code=201)
async def issue(body: NewToken, _caller: Admin, api: Parts, team: Team = None) -> IssuedToken:
    """Make a token. Its text is in this answer and nowhere else."""
    async with api.db.transaction() as tx:
        lasts = timedelta(seconds=body.lasts_s) if body.lasts_s else None
        token, text = await api.access.issue(tx, body.user, body.team, body.role, lasts)
        return IssuedToken(**_view(token).model_dump(), token=text)


@router.get("")
async def list_tokens(_caller: Admin, api: Parts, team: Team = None) -> Tokens:
    """Whose tokens open this api, those that have expired included."""
    statement = select(Token).where(col(Token.revoked_at).is_(None)).order_by(col(Token.created_at))
    async with api.db.reading() as session:
        rows = (await session.exec(statement.where(Token.team == team) if team else statement)).all()
    return Tokens(items=[_view(row) for row in rows])


@router.delete("/{token_id}", status_code=204)
async def revoke(token_id: UUID, _caller: Admin, api: Parts, team: Team = None) -> None:
    """Make a token void at once."""
    async with api.db.transaction() as tx:
        token = (
            await tx.exec(select(Token).where(Token.id == token_id, col(Token.revoked_at).is_(None)))
        ).one_or_none()
        if token is None:
            raise NotFound("there is no such token")
        token.revoked_at = api.clock.now()
        tx.add(token)


def _view(token: Token) -> TokenView:
    return TokenView.model_validate(token, from_attributes=True)
