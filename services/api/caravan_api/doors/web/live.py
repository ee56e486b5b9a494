"""The stream that says what has changed: one a page (server-sent events, WHATWG HTML, section 9.2).

It carries topics and no contents: `clusters`, and `cluster:<id>` for each one concerned; of what people ask for beside
them `pools`, `leases` and the like (`_KINDS`), and `audit` for all of it. Admins, who alone may see them, hear as well
of dead letters, and when work on machines began or ended (`murmurs`). The page fetches again what shows them, through
the same routes and the same guard as the first time. What changes within a moment is told together.
A browser that comes back after a break says what it heard last (Last-Event-ID); one that missed too much is told `all`.
A page that is new hears of the last moment too: it was drawn before it could listen.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Set
from time import monotonic
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from caravan_api.doors.rest.timeline import LastEventId, number_of, streamed
from caravan_api.doors.web.page import Page, ViewerPage
from caravan_api.feed import MOMENT_S, Scope
from caravan_shared.plumbing.waiting import is_set_within

router = APIRouter(tags=["offers"])

_TOGETHER_S = 0.3
"""What changes within it is told at once: a cluster in the making changes many times a second."""

_COME_BACK_MS = 1000
_MOST_TOPICS = 200

_KINDS: Mapping[str, str] = {
    "pool": "pools",
    "lease": "leases",
    "machine": "machines",
    "dead letter": "dead-letters",
    "kubeconfig": "grants",
    "team": "teams",
    "member": "members",
    "token": "tokens",
    "notification": "notifications",
}
"""The topic of each kind of thing that the audit tells of."""


@router.get("/live", response_class=StreamingResponse)
async def live(page: ViewerPage, last_event_id: LastEventId = None) -> StreamingResponse:
    """What changes, as long as the session is open."""
    return streamed(_changes(page, page.team, number_of(last_event_id)))


async def _changes(page: Page, team: str | None, heard: int | None) -> AsyncIterator[str]:
    feed, scope = page.api.feed, Scope(team=team)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + feed.stream_max_s
    told, audited = await feed.a_moment_ago()
    looked_at = monotonic() - MOMENT_S
    if heard is not None:
        told = min(heard, await feed.last_change())
    yield f"retry: {_COME_BACK_MS}\nid: {told}\nevent: open\ndata: \n\n"
    while loop.time() < ends_at and not feed.ended:
        changed = feed.changed
        clusters, told = await feed.changed_clusters(scope, told)
        kinds, audited = await feed.changed_kinds(team, audited, of_all=page.caller.is_admin)
        looked_before, looked_at = looked_at, monotonic()
        news = page.api.murmurs.since(looked_before) if page.caller.is_admin else set()
        if clusters or kinds or news:
            yield f"id: {told}\nevent: changed\ndata: {json.dumps(_topics(clusters, kinds, news))}\n\n"
            await asyncio.sleep(_TOGETHER_S)
        elif not await is_set_within(changed, feed.heartbeat_s):
            if not await _is_still_open(page):
                return
            yield ": heartbeat\n\n"


def _topics(clusters: Set[UUID], kinds: Set[str], news: Set[str]) -> list[str]:
    if len(clusters) > _MOST_TOPICS:
        return ["all"]
    of_clusters = ["clusters", *(f"cluster:{cluster}" for cluster in clusters)] if clusters else []
    of_others = sorted(_KINDS[kind] for kind in kinds | news if kind in _KINDS)
    return [*of_clusters, *of_others, *(["audit"] if kinds else [])]


async def _is_still_open(page: Page) -> bool:
    """Whether the session goes on and opens as much as before."""
    known = await page.request.app.state.entrance.recognise(page.request, None)
    return known is not None and known.within(page.named_team) == page.caller
