"""What the bootstrapper executes on a cluster: its runs, and what Ansible printed. The bootstrapper keeps both."""

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from caravan_api.access import Caller, Viewer
from caravan_api.doors.rest.context import After, Api, Limit, Page, Parts, Team, see_cluster
from caravan_api.errors import NotFound
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_shared.contracts.requests import LOG_PAGE, AskRunLog, AskRuns, RunLog, Runs, RunView

router = APIRouter(prefix="/v1/clusters/{cluster}/runs", tags=["clusters"])

Offset = Annotated[
    int | None,
    Query(ge=0, lt=2**31, description="Where to begin, in characters. Default: so that the page reaches the end."),
]
Characters = Annotated[int, Query(ge=1, le=LOG_PAGE, description="Characters at most.")]

_LOG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What was printed",
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "headers": {"Link": {"description": "`prev` and `next` (RFC 8288)", "schema": {"type": "string"}}},
    }
}


class RunPage(Page):
    """A page of runs, newest first."""

    items: list[RunView]


@router.get("")
async def list_runs(
    cluster: str, caller: Viewer, api: Parts, team: Team = None, limit: Limit = None, after: After = None
) -> RunPage:
    """What was executed on the cluster, newest first; `after` leads on to what was before."""
    size = limit or api.settings.page_size
    before = decode_cursor(after, UUID)[0] if after else None
    cluster_id = await _id_of(cluster, caller, api, team)
    runs = await api.ask(AskRuns(cluster_id=cluster_id, before=before, limit=size), Runs)
    return RunPage(items=list(runs.items), next=encode_cursor(runs.items[-1].run_id) if runs.more else None)


@router.get("/{run_id}/log", response_class=Response, responses=_LOG)
async def read_log(
    cluster: str,
    run_id: UUID,
    caller: Viewer,
    api: Parts,
    team: Team = None,
    offset: Offset = None,
    limit: Characters = LOG_PAGE,
) -> PlainTextResponse:
    """What Ansible printed in a run, without secrets: by default its end, as much as fits.

    `Link` names the part before it (`prev`), as far as it is kept, and what comes after it (`next`): of a run that goes
    on, there is always more to come.
    """
    cluster_id, told = await log_of(cluster, run_id, caller, api, team, offset, limit)
    home = f"/v1/clusters/{cluster_id}/runs/{run_id}/log"
    links = {"prev": earlier(told, limit), "next": later(told, limit)}
    named = [f'<{home}?{urlencode(place)}>; rel="{rel}"' for rel, place in links.items() if place]
    return PlainTextResponse(told.text, headers={"Link": ", ".join(named)} if named else None)


async def log_of(
    cluster: str, run_id: UUID, caller: Caller, api: Api, team: str | None, offset: int | None, limit: int
) -> tuple[UUID, RunLog]:
    """The id of the cluster, and a page of a run's log. Raises `NotFound`."""
    cluster_id = await _id_of(cluster, caller, api, team)
    told = await api.ask(AskRunLog(cluster_id=cluster_id, run_id=run_id, offset=offset, limit=limit), RunLog)
    if told.run is None:
        raise NotFound("the cluster has no such run")
    return cluster_id, told


def earlier(told: RunLog, limit: int) -> dict[str, int] | None:
    """Where the page before this one begins, and how long it is; None: nothing earlier is kept. Pure."""
    start = max(told.offset - limit, told.first)
    return {"offset": start, "limit": told.offset - start} if start < told.offset else None


def later(told: RunLog, limit: int) -> dict[str, int] | None:
    """Where the page after this one begins; None: all was read that there will ever be. Pure."""
    reached = told.offset + len(told.text)
    is_over = told.run is not None and told.run.ended_at is not None
    return None if is_over and reached >= told.end else {"offset": reached, "limit": limit}


async def _id_of(cluster: str, caller: Caller, api: Api, team: str | None) -> UUID:
    return (await see_cluster(api, caller, cluster, team)).id
