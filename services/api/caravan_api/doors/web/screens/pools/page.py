"""Pools: what each keeps ready, who waits for it, who has one of its clusters; and to take one."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.doors.rest import pools as rest
from caravan_api.doors.rest.bodies import TakeLease
from caravan_api.doors.rest.context import After
from caravan_api.doors.web.fields import body, pairs
from caravan_api.doors.web.page import DeveloperPage, Page, ViewerPage
from caravan_api.pools.finding import find_pool
from caravan_api.pools.sight import look_closer
from caravan_api.pools.store import Lease, Pool
from caravan_api.pools.views import LeaseView, lease_view, pool_view, queue_views
from caravan_shared.contracts.states import LeaseState

router = APIRouter(prefix="/pools", tags=["pools"])

_MOST = 200
"""Clusters, leases and waiting ones that a pool's page shows of each."""


@router.get("")
async def list_pools(page: ViewerPage, after: After = None) -> HTMLResponse:
    """All of them, by name."""
    listed = await rest.list_pools(page.caller, page.api, page.named_team, after=after)
    return page.show("pools/list.html", title="Pools", pools=listed.items, next=listed.next)


@router.get("/{pool}")
async def show_pool(page: ViewerPage, pool: str) -> HTMLResponse:
    """One of them."""
    async with page.api.db.reading() as session:
        found = await find_pool(session, page.caller, pool, page.named_team)
        view = await pool_view(session, found, page.now)
        is_own = page.caller.sees(found.team)
        clusters = await look_closer(session, found, page.now, _MOST) if is_own else []
        queue = await queue_views(session, found, page.now)
        held = await _held(session, page, found)
    return page.show(
        "pools/pool.html",
        title=view.name,
        pool=view,
        is_own=is_own,
        may_change=is_own and page.may("developer") and not view.deleting,
        clusters=clusters,
        queue=queue[:_MOST],
        held=held,
        lasting=lasting(view.spec.max_lease_s, view.spec.lease_s),
    )


@router.post("/{pool}/leases", tags=["leases"])
async def take(
    page: DeveloperPage,
    pool: str,
    lasts_s: Annotated[str | None, Form()] = None,
    purpose: Annotated[str | None, Form()] = None,
    labels: Annotated[str | None, Form(max_length=20_000)] = None,
    wait: Annotated[bool, Form()] = False,
) -> Response:
    """Take one of its clusters, or a place in its queue."""
    wish = body(TakeLease, lasts_s=lasts_s, purpose=purpose, labels=pairs(labels, "labels"), wait=wait)
    taken = await rest.taken_lease(pool, wish, page.request, page.caller, page.api, None, page.named_team)
    said = f"You wait as number {taken.position}" if taken.position else f"You have the cluster {taken.cluster}"
    return page.goto(f"/leases/{taken.id}", said)


def lasting(most_s: int, usual_s: int) -> list[int]:
    """The durations that a form offers, in seconds: round ones up to the longest, and the usual one."""
    return sorted({each for each in (*_ROUND_S, most_s) if each <= most_s} | {usual_s})


_ROUND_S = (900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 7 * 86_400)


async def _held(session: AsyncSession, page: Page, pool: Pool) -> list[LeaseView]:
    """Its leases that have a cluster: those of the caller's team, all to an admin."""
    statement = select(Lease).where(Lease.pool_id == pool.id, col(Lease.granted_at).is_not(None))
    statement = statement.where(col(Lease.ended_at).is_(None))
    if not page.caller.is_admin:
        statement = statement.where(Lease.team == page.caller.team)
    rows = await session.exec(statement.order_by(col(Lease.ends_at)).limit(_MOST))
    return [lease_view(lease) for lease in rows if lease.state != LeaseState.WAITING]
