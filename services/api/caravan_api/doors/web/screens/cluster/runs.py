"""What was executed on a cluster, and what Ansible printed: asked of the bootstrapper when somebody wants to see it."""

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from caravan_api.doors.rest import runs as rest
from caravan_api.doors.rest.context import After, find_cluster
from caravan_api.doors.web.page import ViewerPage

router = APIRouter(prefix="/clusters/{cluster}/runs", tags=["clusters"])

_RUNS = 20
_LINES = 16_384
"""Characters of a log that are shown at once; a page with all of it would be slow to read and to draw."""


@router.get("")
async def show_runs(page: ViewerPage, cluster: str, after: After = None) -> HTMLResponse:
    """The runs of a cluster, newest first, each with its log."""
    async with page.api.db.reading() as session:
        found = await find_cluster(session, page.caller, cluster, page.named_team)
    listed = await rest.list_runs(str(found.id), page.caller, page.api, page.named_team, _RUNS, after)
    return page.show(
        "cluster/runs.html",
        title=f"Runs of {found.name}",
        cluster=found,
        runs=listed.items,
        next=listed.next,
        after=after,
    )


@router.get("/{run_id}/log")
async def show_log(
    page: ViewerPage, cluster: str, run_id: UUID, offset: rest.Offset = None, limit: rest.Characters = _LINES
) -> HTMLResponse:
    """A part of a page: what was printed last, or what was before that."""
    asked = (page.caller, page.api, page.named_team, offset, limit)
    cluster_id, told = await rest.log_of(cluster, run_id, *asked)
    return page.show(
        "cluster/log.html",
        title="Log of a run",
        cluster_id=cluster_id,
        told=told,
        is_end=offset is None,
        earlier=rest.earlier(told, _LINES),
    )
