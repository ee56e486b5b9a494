"""What happened: a cluster's timeline, and the streams that tell of everything as it happens."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from sqlmodel import col, select

from caravan_api.access import Viewer
from caravan_api.doors.rest.context import After, Limit, Page, Parts, Team, see_cluster, team_listed
from caravan_api.feed import Scope
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.readmodel import TimelineView, timeline_view
from caravan_api.store import TimelineEntry

router = APIRouter(prefix="/v1", tags=["clusters"])

_LONGEST_NUMBER = 18  # digits of a change's number: below 2**63


def stream_response(description: str) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes server-sent events."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": f"Server-sent events: {description}", "content": content}}


_STREAM = stream_response("`cluster` with a cluster's JSON, `timeline` with an entry.")
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="Go on after this event.")]


class TimelinePage(Page):
    """A page of a timeline."""

    items: list[TimelineView]


@router.get("/clusters/{cluster}/timeline")
async def timeline(
    cluster: str,
    caller: Viewer,
    api: Parts,
    team: Team = None,
    limit: Limit = None,
    after: After = None,
) -> TimelinePage:
    """What happened to the cluster, newest first; `after` leads on to what was before."""
    size = limit or api.settings.page_size
    found = await see_cluster(api, caller, cluster, team)
    statement = select(TimelineEntry).where(TimelineEntry.cluster_id == found.id)
    if after:
        statement = statement.where(col(TimelineEntry.id) < decode_cursor(after, int)[0])
    async with api.db.reading() as session:
        rows = (await session.exec(statement.order_by(col(TimelineEntry.id).desc()).limit(size + 1))).all()
    return TimelinePage(
        items=[timeline_view(row) for row in rows[:size]],
        next=encode_cursor(rows[size - 1].id) if len(rows) > size else None,
    )


@router.get("/clusters/{cluster}/events", response_class=StreamingResponse, responses=_STREAM)
async def cluster_events(
    cluster: str, caller: Viewer, api: Parts, team: Team = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """One cluster as it changes: first as it is now, or all that came after Last-Event-ID."""
    found = await see_cluster(api, caller, cluster, team)
    return streamed(api.feed.stream(Scope(cluster_id=found.id), number_of(last_event_id)))


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def all_events(
    caller: Viewer, api: Parts, team: Team = None, last_event_id: LastEventId = None
) -> StreamingResponse:
    """All clusters of your team (an admin's: of all teams, or of `team`) as they change."""
    scope = Scope(team=team_listed(caller, team))
    return streamed(api.feed.stream(scope, number_of(last_event_id)))


def streamed(text: AsyncIterator[str]) -> StreamingResponse:
    """Server-sent events as an answer."""
    # X-Accel-Buffering: nginx would hold the events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(text, media_type="text/event-stream", headers=headers)


def number_of(last_event_id: str | None) -> int | None:
    """The number of the change that was heard last; None for what is none of ours."""
    is_ours = last_event_id and last_event_id.isascii() and last_event_id.isdecimal()
    return int(last_event_id) if last_event_id and is_ours and len(last_event_id) <= _LONGEST_NUMBER else None
