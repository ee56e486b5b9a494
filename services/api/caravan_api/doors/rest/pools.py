"""Pools: make one, look at it, change it, let it go; and take a lease of one of its clusters."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import bindparam
from sqlmodel import col, select
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
    answered_once,
    could_exist,
    is_id,
    must_match,
    once,
    team_listed,
    team_of,
)
from caravan_api.doors.rest.kubeconfigs import IssuedKubeconfig, granted
from caravan_api.errors import Conflict, Forbidden, NoPrecondition, NotFound, NotYet
from caravan_api.idempotency import Answer
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.pools.leases import Wish
from caravan_api.pools.reach import is_open_to
from caravan_api.pools.store import Pool
from caravan_api.pools.views import LeaseView, PoolView, pool_etag, pool_view, waiting_view
from caravan_api.store import Cluster
from caravan_shared.plumbing.errors import CaravanError

router = APIRouter(prefix="/v1/pools", tags=["pools"])

# Made once: to make a statement takes as long as to execute it, and every taker needs one of these.
_LIVE = select(Pool).where(col(Pool.deleted_at).is_(None))
_BY_ID = _LIVE.where(Pool.id == bindparam("id"))
_BY_NAME = _LIVE.where(Pool.name == bindparam("name"), is_open_to(bindparam("team")))
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
    statement = _LIVE.order_by(col(Pool.name), col(Pool.id))
    if (meant := team_listed(caller, team)) is not None:
        statement = statement.where(is_open_to(meant))
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


@router.post("/{pool}/leases", status_code=201, tags=["leases"])
async def take(
    pool: str,
    body: TakeLease,
    request: Request,
    response: Response,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> TakenLease:
    """Take a cluster: at once where a spare is ready, else when your turn has come. Afterwards it is deleted."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_pool(tx, caller, pool, team)
        wish = Wish(body.lasts_s, body.purpose, body.labels, body.heartbeat_s)
        lease = await api.leases.take(tx, found, taking_team(found, caller, team), caller.user, wish)
        view = await waiting_view(tx, found, lease, api.clock.now())
        if view.position and not body.wait:
            raise NotYet(f"no spare of the pool {found.name} is ready: come again, or let `wait` be true")
        return Answer(201, view.model_dump(mode="json"), "")

    taken = TakenLease.model_validate((await answered_once(request, caller, key, body.model_dump(), work)).body)
    response.headers["Location"] = f"/v1/leases/{taken.id}"
    if taken.cluster_id and body.kubeconfig:
        response.headers["Cache-Control"] = "no-store"
        await _add_kubeconfig(api, caller, taken, AskAccess(role=body.kubeconfig, ttl_s=_ttl_s(taken)))
    return taken


async def find_pool(
    session: AsyncSession, caller: Caller, ref: str, team: str | None = None, *, lock: bool = False
) -> Pool:
    """The live pool of that id or name; `lock` it to change it.

    Found are those of the caller's team, and to look at and take from those that are shared with it. Raises `NotFound`,
    for any other team's pool too, `Forbidden` for changing one that is only shared, `Conflict` for a name of several.
    """
    meant = team or caller.team
    found: Sequence[Pool] = ()
    if caller.sees(meant) and could_exist(ref):
        statement, wanted = (_BY_ID, {"id": UUID(ref)}) if is_id(ref) else (_BY_NAME, {"name": ref, "team": meant})
        rows = await session.exec(statement.with_for_update() if lock else statement, params=wanted)
        found = [pool for pool in rows if caller.is_admin or pool.is_for(meant)]
    pool = _the_one(found, meant)
    if lock and not caller.sees(pool.team):
        raise Forbidden(f"the pool {pool.name} belongs to the team {pool.team}, which shares it with yours")
    return pool


def _the_one(found: Sequence[Pool], team: str) -> Pool:
    """The team's own, else the only one that is shared with it."""
    if not found:
        raise NotFound("there is no such pool in your team, and none is shared with it")
    own = [pool for pool in found if pool.team == team]
    if not own and len(found) > 1:
        raise Conflict(f"several teams share a pool called {found[0].name} with yours: name the one you mean by its id")
    return (own or found)[0]


def taking_team(pool: Pool, caller: Caller, team: str | None) -> str:
    """Whose the lease is: the team meant, the caller's by default. Of pools that only an admin finds: the pool's."""
    meant = team_of(caller, team)
    return meant if pool.is_for(meant) else pool.team


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
