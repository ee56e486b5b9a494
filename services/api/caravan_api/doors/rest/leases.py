"""Leases: see them, wait for one, extend it, say that you are still there, give it back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Developer, Viewer
from caravan_api.doors.rest.bodies import ExtendLease
from caravan_api.doors.rest.context import (
    After,
    Api,
    IdempotencyKeyHeader,
    Limit,
    Page,
    Parts,
    Team,
    answered_once,
    team_listed,
)
from caravan_api.doors.rest.timeline import stream_response, streamed
from caravan_api.errors import NotFound
from caravan_api.idempotency import Answer
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.pools.leases import lock_lease
from caravan_api.pools.spec import LONGEST_LEASE_S, PoolName
from caravan_api.pools.store import Lease, Pool
from caravan_api.pools.views import LeaseView, lease_view, waiting_view
from caravan_shared.contracts.states import LeaseState
from caravan_shared.plumbing.waiting import is_set_within

router = APIRouter(prefix="/v1/leases", tags=["leases"])

KeepS = Annotated[
    int, Query(ge=0, le=LONGEST_LEASE_S, description="Leave its cluster for so long, to look for what went wrong.")
]
_LOOK_AGAIN_S = 2.0  # of those who wait: what another replica did is seen so soon
_STREAM = stream_response("`lease` with the lease's JSON, first as it is, then whenever it changes.")


class LeasePage(Page):
    """A page of leases."""

    items: list[LeaseView]


@router.get("")
async def list_leases(
    caller: Viewer,
    api: Parts,
    team: Team = None,
    pool: PoolName | None = None,
    state: LeaseState | None = None,
    holder: Annotated[str | None, Query(max_length=200, description="Who took it.")] = None,
    limit: Limit = None,
    after: After = None,
) -> LeasePage:
    """Your team's leases (an admin's: all teams'), newest first. Ended ones only with `state=Ended`."""
    statement = select(Lease).order_by(col(Lease.asked_at).desc(), col(Lease.id).desc())
    if (meant := team_listed(caller, team)) is not None:
        statement = statement.where(Lease.team == meant)
    for column, value in {Lease.pool: pool, Lease.state: state, Lease.holder: holder}.items():
        statement = statement.where(column == value) if value is not None else statement
    if state is not LeaseState.ENDED:
        statement = statement.where(col(Lease.ended_at).is_(None))
    if after:
        asked_at, lease_id = decode_cursor(after, datetime, UUID)
        earlier = (col(Lease.asked_at) == asked_at) & (col(Lease.id) < lease_id)
        statement = statement.where((col(Lease.asked_at) < asked_at) | earlier)
    size = limit or api.settings.page_size
    async with api.db.reading() as session:
        rows = (await session.exec(statement.limit(size + 1))).all()
    last = rows[size - 1] if len(rows) > size else None
    return LeasePage(
        items=[lease_view(lease) for lease in rows[:size]], next=encode_cursor(last.asked_at, last.id) if last else None
    )


@router.get("/{lease}")
async def get(
    lease: UUID,
    caller: Viewer,
    api: Parts,
    team: Team = None,
    wait_s: Annotated[int, Query(ge=0, le=60, description="Answer when it waits no more, or after so long.")] = 0,
) -> LeaseView:
    """One lease, with its place in the queue and the likely wait while it is there."""
    if wait_s:
        await _until_served(api, caller, lease, wait_s)
    return await _view(api, caller, lease)


@router.get("/{lease}/events", response_class=StreamingResponse, responses=_STREAM)
async def events(lease: UUID, caller: Viewer, api: Parts, team: Team = None) -> StreamingResponse:
    """One lease as it changes, until it is over."""
    return streamed(_changes(api, caller, await _found(api, caller, lease)))


@router.post("/{lease}/extend")
async def extend(
    lease: UUID,
    body: ExtendLease,
    request: Request,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> LeaseView:
    """Make it end later, up to the pool's cap."""

    async def work(tx: AsyncSession) -> Answer:
        found, pool = await find_lease(tx, caller, lease)
        await api.leases.extend(tx, pool, found, body.for_s)
        return Answer(200, lease_view(found).model_dump(mode="json"), "")

    return LeaseView.model_validate((await answered_once(request, caller, key, body.model_dump(), work)).body)


@router.post("/{lease}/heartbeat")
async def heartbeat(lease: UUID, caller: Developer, api: Parts, team: Team = None) -> LeaseView:
    """Say that its holder is still there, or still waits."""
    async with api.db.transaction() as tx:
        found, _ = await find_lease(tx, caller, lease)
        api.leases.hear(tx, found)
        return lease_view(found)


@router.delete("/{lease}")
async def give_back(
    lease: UUID,
    caller: Developer,
    api: Parts,
    team: Team = None,
    keep_s: KeepS = 0,
) -> LeaseView:
    """Give it back, or leave the queue. Its cluster is deleted, never used again. Asking again is fine."""
    async with api.db.transaction() as tx:
        found, pool = await find_lease(tx, caller, lease)
        await api.leases.give_back(tx, pool, found, caller.user, keep_s)
        return lease_view(found)


async def _found(api: Api, caller: Caller, lease_id: UUID) -> Lease:
    async with api.db.reading() as session:
        return _visible(await session.get(Lease, lease_id), caller)


async def _until_served(api: Api, caller: Caller, lease_id: UUID, most_s: float) -> None:
    """Wait until it waits no more. Only its row is read meanwhile: nobody is told its place."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + most_s
    pool_id = (await _found(api, caller, lease_id)).pool_id
    while not api.feed.ended:
        bell = api.bells.of(pool_id)
        state = (await _found(api, caller, lease_id)).state
        left_s = ends_at - loop.time()
        if state != LeaseState.WAITING or left_s <= 0:
            return
        await is_set_within(bell, min(left_s, _LOOK_AGAIN_S))


async def _view(api: Api, caller: Caller, lease_id: UUID) -> LeaseView:
    async with api.db.reading() as session:
        found = _visible(await session.get(Lease, lease_id), caller)
        pool = await session.get_one(Pool, found.pool_id)
        return await waiting_view(session, pool, found, api.clock.now())


async def find_lease(tx: AsyncSession, caller: Caller, lease_id: UUID) -> tuple[Lease, Pool]:
    """The lease of that id, locked, and its pool. Raises `NotFound`, for another team's lease too."""
    found = _visible(await lock_lease(tx, lease_id), caller)
    return found, await tx.get_one(Pool, found.pool_id)


def _visible(lease: Lease | None, caller: Caller) -> Lease:
    if lease is None or not caller.sees(lease.team):
        raise NotFound("there is no such lease in your team")
    return lease


async def _changes(api: Api, caller: Caller, lease: Lease) -> AsyncIterator[str]:
    """The stream's text: what is told once is told again only when it differs."""
    loop = asyncio.get_running_loop()
    ends_at, quiet_since, told = loop.time() + api.settings.stream_max_s, loop.time(), ""
    while loop.time() < ends_at and not api.feed.ended:
        bell = api.bells.of(lease.pool_id)
        view = await _view(api, caller, lease.id)
        text = view.model_dump_json(exclude={"estimate_s"})
        if text != told:
            yield f"event: lease\ndata: {view.model_dump_json()}\n\n"
            told, quiet_since = text, loop.time()
        elif loop.time() - quiet_since >= api.settings.heartbeat_s:
            yield ": heartbeat\n\n"
            quiet_since = loop.time()
        if view.state is LeaseState.ENDED:
            return
        await is_set_within(bell, min(_LOOK_AGAIN_S, api.settings.heartbeat_s))
