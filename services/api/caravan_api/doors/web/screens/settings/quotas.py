"""How much each team may have, and has; an admin changes it and makes teams."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from caravan_api.doors.rest import teams as rest
from caravan_api.doors.rest.bodies import ChangeTeam, NewTeam
from caravan_api.doors.rest.context import After
from caravan_api.doors.web.fields import body
from caravan_api.doors.web.page import AdminPage, ViewerPage

router = APIRouter(prefix="/settings/quotas", tags=["teams"])

Limit = Annotated[str | None, Form()]


@router.get("")
async def list_quotas(page: ViewerPage, after: After = None) -> HTMLResponse:
    """The teams of whoever looks; all, to an admin."""
    listed = await rest.list_teams(page.known, page.api, after=after)
    teams = [await rest.get(team.name, page.known, page.api) for team in listed.items]
    return page.show("settings/quotas.html", title="Quotas", teams=teams, next=listed.next)


@router.post("")
async def create(
    page: AdminPage,
    name: Annotated[str, Form()],
    max_clusters: Limit = None,
    max_nodes: Limit = None,
    max_leases: Limit = None,
) -> Response:
    """Make a team."""
    wish = body(NewTeam, name=name, max_clusters=max_clusters, max_nodes=max_nodes, max_leases=max_leases)
    made = await rest.create(wish, page.caller, page.api)
    return page.done(f"There is a team {made.name} now: add its members next")


@router.post("/{name}")
async def change(
    page: AdminPage, name: str, max_clusters: Limit = None, max_nodes: Limit = None, max_leases: Limit = None
) -> Response:
    """Change all of a team's limits; an empty one is none."""
    wish = body(ChangeTeam, max_clusters=max_clusters, max_nodes=max_nodes, max_leases=max_leases)
    changed = await rest.change(name, wish, page.caller, page.api)
    return page.done(f"The quota of {changed.name} is changed")
