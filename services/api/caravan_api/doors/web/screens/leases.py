"""Leases: who has which cluster until when; make one longer, keep its cluster, give it back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response

from caravan_api.doors.rest import leases as rest
from caravan_api.doors.rest.bodies import ExtendLease
from caravan_api.doors.rest.context import After
from caravan_api.doors.web.fields import body, unless_blank
from caravan_api.doors.web.page import DeveloperPage, ViewerPage
from caravan_api.doors.web.screens.pools.page import lasting
from caravan_api.pools.spec import PoolName, PoolSpec
from caravan_api.pools.store import Pool
from caravan_shared.contracts.states import LeaseState

router = APIRouter(prefix="/leases", tags=["leases"])


@router.get("")
async def list_leases(
    page: ViewerPage,
    pool: Annotated[PoolName | None, unless_blank] = None,
    state: Annotated[LeaseState | None, unless_blank] = None,
    holder: Annotated[str | None, Query(max_length=200), unless_blank] = None,
    after: After = None,
) -> HTMLResponse:
    """A page of them, newest first; ended ones only if they are asked for."""
    listed = await rest.list_leases(page.caller, page.api, page.named_team, pool, state, holder, after=after)
    return page.show(
        "leases/list.html",
        title="Leases",
        leases=listed.items,
        next=listed.next,
        pool=pool,
        state=state,
        holder=holder,
        states=tuple(LeaseState),
        is_narrowed=any((pool, state, holder)),
    )


@router.get("/{lease}")
async def show_lease(page: ViewerPage, lease: UUID) -> HTMLResponse:
    """One of them, with what can be done about it."""
    view = await rest.get(lease, page.caller, page.api, page.named_team)
    async with page.api.db.reading() as session:
        pool = await session.get_one(Pool, view.pool_id)
    spec = PoolSpec.model_validate(pool.spec)
    return page.show(
        "leases/lease.html",
        title=f"Lease of {view.holder}",
        lease=view,
        longer=lasting(spec.max_lease_s, spec.lease_s),
        keeping=lasting(spec.max_keep_s, spec.max_keep_s) if spec.max_keep_s else [],
    )


@router.post("/{lease}/extend")
async def extend(page: DeveloperPage, lease: UUID, for_s: Annotated[str | None, Form()] = None) -> Response:
    """Have it end later."""
    wish = body(ExtendLease, for_s=for_s)
    view = await rest.extend(lease, wish, page.request, page.caller, page.api, team=page.named_team)
    return page.done(f"The lease ends at {view.ends_at:%H:%M} UTC on {view.ends_at:%B %-d}")


@router.post("/{lease}/return")
async def give_back(page: DeveloperPage, lease: UUID, keep_s: Annotated[int, Form(ge=0)] = 0) -> Response:
    """Give it back, or leave the queue; `keep_s` leaves its cluster for so long."""
    view = await rest.give_back(lease, page.caller, page.api, page.named_team, keep_s)
    if view.state is LeaseState.KEPT:
        return page.done(f"Given back; {view.cluster} is kept to be looked at")
    return page.done(f"Given back: {view.cluster} is being deleted" if view.cluster else "You have left the queue")
