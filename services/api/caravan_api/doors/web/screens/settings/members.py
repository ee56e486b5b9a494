"""Who belongs to a team, and what they may do: people, groups, service accounts."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from caravan_api.access import Role
from caravan_api.doors.rest import members as rest
from caravan_api.doors.rest.bodies import PlaceMember
from caravan_api.doors.rest.context import team_of
from caravan_api.doors.web.page import OwnerPage, ViewerPage
from caravan_api.teams.store import MemberKind

router = APIRouter(prefix="/settings", tags=["teams"])


@router.get("")
async def settings(page: ViewerPage) -> Response:
    """The first tab."""
    return RedirectResponse(page.url("/settings/members"), 303)


@router.get("/members")
async def list_members(page: ViewerPage) -> HTMLResponse:
    """All members of the team that is looked at."""
    listed = await rest.list_members(page.caller, page.api, page.named_team)
    return page.show(
        "settings/members.html",
        title="Members",
        of_team=team_of(page.caller, page.named_team),
        members=[(member, name_of(member)) for member in listed.items],
        kinds=tuple(MemberKind),
        roles=[role for role in Role if page.caller.role.includes(role)],
    )


@router.post("/members")
async def place(
    page: OwnerPage,
    kind: Annotated[MemberKind, Form()],
    name: Annotated[str, Form(min_length=1, max_length=200)],
    role: Annotated[Role, Form()],
) -> Response:
    """Add somebody, or change what they may do."""
    placed = await rest.place(kind, name.strip(), PlaceMember(role=role), page.caller, page.api, page.named_team)
    return page.done(f"{placed.user} is {placed.role} in {placed.team}")


@router.post("/members/remove")
async def remove(
    page: OwnerPage,
    kind: Annotated[MemberKind, Form()],
    name: Annotated[str, Form(min_length=1, max_length=200)],
) -> Response:
    """Take somebody out."""
    await rest.remove(kind, name, page.caller, page.api, page.named_team)
    return page.done(f"{name} is out: their tokens open nothing here any more, their kubeconfigs are taken back")


def name_of(member: rest.MemberView) -> str:
    """What a member is called within the team."""
    return member.user.rsplit("/", 1)[-1] if member.kind is MemberKind.SERVICE else member.user
