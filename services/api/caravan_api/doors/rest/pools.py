"""Pools: make one, look at it, change it, let it go; and take a lease of one of its clusters."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Developer, Viewer
from caravan_api.doors.rest.bodies import LONGEST_ACCESS_S, AskAccess, ChangePool, CreatePool, TakeLease, merged
from caravan_api.doors.rest.context import (
    After,
    Api,
    IdempotencyKeyHeader,
    IfMatch,
    Limit,
    Page,
    Parts,
    Team,
    claim_of,
    json_response,
    must_match,
    once,
    team_listed,
    team_of,
)
from caravan_api.doors.rest.kubeconfigs import IssuedKubeconfig, granted
from caravan_api.doors.rest.takes import Asked
from caravan_api.errors import NoPrecondition
from caravan_api.idempotency import Answer
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.pools.finding import LIVE, Sought, find_pool
from caravan_api.pools.leases import Wish
from caravan_api.pools.reach import is_open_to
from caravan_api.pools.store import Pool
from caravan_api.pools.views import LeaseView, PoolView, pool_etag, pool_view
from caravan_api.store import Cluster
from caravan_shared.plumbing.errors import CaravanError

router = APIRouter(prefix="/v1/pools", tags=["pools"])

_HEADER: dict[str, Any] = {"headers": {"ETag": {"schema": {"type": "string"}}}}


class PoolPage(Page):
    """A page of pools."""

    items: list[PoolView]


class TakenLease(LeaseView):
    """A new lease; Held, or Waiting in the queue."""

    kubeconfig: IssuedKubeconfig | None = None
    kubeconfig_problem: str | None = None
    """Why there is none although one was asked for; the lease is yours all the same, so ask for one later."""


@router.post("", status_code=201, response_model=PoolView, responses={201: _HEADER})
async def create(
    body: CreatePool,
    request: Request,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Keep clusters of one template ready. The pool is admitted whole or refused with every problem."""
    owner = team_of(caller, team)

    async def work(tx: AsyncSession) -> Answer:
        pool = await api.pools.create(tx, owner, caller.user, {"name": body.name, "spec": body.spec})
        return await _answer(tx, api, pool, 201)

    return await once(request, caller, key, body.model_dump(), work, among=router.prefix)


@router.get("")
async def list_pools(
    caller: Viewer,
    api: Parts,
    team: Team = None,
    limit: Limit = None,
    after: After = None,
) -> PoolPage:
    """Your team's pools and those shared with it (an admin's: all teams'), by name."""
    statement = LIVE.order_by(col(Pool.name), col(Pool.id))
    if (meant := team_listed(caller, team)) is not None:
        statement = statement.where(is_open_to([meant]))
    if after:
        name, pool_id = decode_cursor(after, str, UUID)
        statement = statement.where((col(Pool.name) > name) | ((col(Pool.name) == name) & (col(Pool.id) > pool_id)))
    size = limit or api.settings.page_size
    async with api.db.reading() as session:
        rows = (await session.exec(statement.limit(size + 1))).all()
        items = [await pool_view(session, pool, api.clock.now()) for pool in rows[:size]]
    last = rows[size - 1] if len(rows) > size else None
    return PoolPage(items=items, next=encode_cursor(last.name, last.id) if last else None)


@router.get("/{pool}")
async def get(pool: str, response: Response, caller: Viewer, api: Parts, team: Team = None) -> PoolView:
    """One pool, by id or name."""
    async with api.db.reading() as session:
        found = await find_pool(session, caller, pool, team)
        response.headers["ETag"] = pool_etag(found)
        return await pool_view(session, found, api.clock.now())


@router.patch("/{pool}", response_model=PoolView, responses={200: _HEADER})
async def change(
    pool: str,
    body: ChangePool,
    request: Request,
    caller: Developer,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Change a pool's spec by a merge patch. Another template replaces its spares; leases run on."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_pool(tx, caller, pool, team, lock=True)
        if if_match is None:
            raise NoPrecondition
        must_match(if_match, pool_etag(found), f"the pool {found.name}")
        await api.pools.change(tx, found, merged(found.spec, body.spec))
        return await _answer(tx, api, found, 200)

    return await once(request, caller, key, body.model_dump(), work, among=router.prefix)


@router.delete("/{pool}", status_code=202, response_model=PoolView, responses={202: _HEADER})
async def delete(
    pool: str,
    request: Request,
    caller: Developer,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Delete a pool: its spares go at once, whoever waits is told, and leases that are held run to their end."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_pool(tx, caller, pool, team, lock=True)
        must_match(if_match, pool_etag(found), f"the pool {found.name}")
        await api.pools.delete(tx, found)
        return await _answer(tx, api, found, 202)

    return await once(request, caller, key, None, work, among=router.prefix)


@router.post("/{pool}/leases", status_code=201, tags=["leases"], response_model=TakenLease)
async def take(
    pool: str,
    body: TakeLease,
    request: Request,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> Response:
    """Take a cluster: at once where a spare is ready, else when your turn has come. Afterwards it is deleted."""
    taken = await taken_lease(pool, body, request, caller, api, key, team)
    headers = {"Location": f"/v1/leases/{taken.id}"}
    if taken.kubeconfig or taken.kubeconfig_problem:
        headers["Cache-Control"] = "no-store"
    return json_response(taken.model_dump_json(), headers, status=201)


async def taken_lease(
    pool: str, body: TakeLease, request: Request, caller: Caller, api: Api, key: str | None, team: str | None
) -> TakenLease:
    """The lease that a request for one is answered with."""
    claim = claim_of(request, caller, key, body.model_dump()) if key else None
    wish = Wish(body.lasts_s, body.purpose, body.labels, body.heartbeat_s, body.wait)
    answer = await api.takes.ask(Asked(Sought(caller, pool, team), wish, claim))
    taken = TakenLease.model_validate(answer.body)
    if taken.cluster_id and body.kubeconfig:
        await _add_kubeconfig(api, caller, taken, AskAccess(role=body.kubeconfig, ttl_s=_ttl_s(taken)))
    return taken


async def _add_kubeconfig(api: Api, caller: Caller, taken: TakenLease, wish: AskAccess) -> None:
    """The lease is given already: without a kubeconfig it is worth more than none."""
    async with api.db.reading() as session:
        cluster = await session.get_one(Cluster, taken.cluster_id)
    try:
        taken.kubeconfig = await granted(api, cluster, caller, wish)
    except CaravanError as error:
        taken.kubeconfig_problem = error.reason


def _ttl_s(taken: TakenLease) -> int:
    return min(taken.lasts_s, LONGEST_ACCESS_S)


async def _answer(tx: AsyncSession, api: Api, pool: Pool, status: int) -> Answer:
    view = await pool_view(tx, pool, api.clock.now())
    return Answer(status, view.model_dump(mode="json"), pool_etag(pool))
