"""Tokens of a team: make one, whose text is shown this once, and take them back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from caravan_api.access import Role, Scope
from caravan_api.doors.rest import tokens as rest
from caravan_api.doors.rest.bodies import NewToken
from caravan_api.doors.rest.context import team_of
from caravan_api.doors.web.fields import body
from caravan_api.doors.web.page import ViewerPage

router = APIRouter(prefix="/settings/tokens", tags=["teams"])

_LASTING_S = (86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400)


@router.get("")
async def list_tokens(page: ViewerPage) -> HTMLResponse:
    """One's own; an owner's: the team's; an admin's, who names no team: all."""
    listed = await rest.list_tokens(page.caller, page.api, page.named_team)
    return page.show(
        "settings/tokens.html",
        title="Tokens",
        of_team=team_of(page.caller, page.named_team),
        tokens=listed.items,
        roles=[role for role in Role if page.caller.role.includes(role)],
        scopes=tuple(Scope),
        lasting=_LASTING_S,
    )


@router.post("")
async def issue(
    page: ViewerPage,
    role: Annotated[Role, Form()],
    user: Annotated[str | None, Form()] = None,
    lasts_s: Annotated[str | None, Form()] = None,
    scopes: Annotated[list[str] | None, Form()] = None,
) -> HTMLResponse:
    """Make one. The answer holds its text, and no other ever will."""
    wish = body(NewToken, user=user, role=role, lasts_s=lasts_s, scopes=scopes or [])
    return page.show(
        "settings/issued.html", title="New token", issued=await rest.issue(wish, page.caller, page.api, page.named_team)
    )


@router.post("/{token_id}/revoke")
async def revoke(page: ViewerPage, token_id: UUID) -> Response:
    """Make one void."""
    await rest.revoke(token_id, page.caller, page.api, page.named_team)
    return page.done("The token is void: it opens nothing any more")
