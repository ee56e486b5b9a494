"""The overview: how the fleet is, what is wrong now, what is in the making."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from caravan_api.doors.web.page import ViewerPage
from caravan_api.fleet import fleet

router = APIRouter(tags=["clusters"])


@router.get("/")
async def overview(page: ViewerPage) -> HTMLResponse:
    """All of a team's clusters in one look."""
    async with page.api.db.reading() as session:
        found = await fleet(session, page.team)
    return page.show("overview/overview.html", title="Overview", fleet=found)
