"""What every route works with, and the questions that most of them ask first."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy import BindParameter, bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Access, Caller, Sessions
from caravan_api.admission import Limits
from caravan_api.ask import Ask
from caravan_api.desired import Desired
from caravan_api.doctor import Doctor
from caravan_api.doors.chatops.replies import Replies
from caravan_api.doors.rest.takes import Takes
from caravan_api.errors import Forbidden, NotFound, Stale
from caravan_api.feed import Feed
from caravan_api.handlers import Handlers
from caravan_api.idempotency import Answer, Key, fingerprint
from caravan_api.murmurs import Murmurs
from caravan_api.oidc.code_flow import CodeFlow
from caravan_api.outgoing import Outgoing
from caravan_api.pools.bells import Bells
from caravan_api.pools.desired import DesiredPools
from caravan_api.pools.leases import Leases
from caravan_api.pools.reach import is_within_reach
from caravan_api.readmodel import cluster_view, etag_of
from caravan_api.refs import could_exist, is_id
from caravan_api.seen import Meant, Seeing, Seen
from caravan_api.settings import Settings
from caravan_api.store import Cluster
from caravan_api.written import Written
from caravan_shared.contracts.spec import TeamName
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_NO_SUCH_CLUSTER = "there is no such cluster in your team"


@dataclass(frozen=True, slots=True)
class Api:
    """The parts behind the routes."""

    settings: Settings
    db: Database
    bus: Bus
    clock: Clock
    ask: Ask
    seal: Callable[[str, str], str]
    """Seals a text for a context, so that it may travel and be stored."""
    access: Access
    sessions: Sessions
    login: CodeFlow | None
    """The issuer that people log in with, if there is one."""
    desired: Desired
    seeing: Seeing
    written: Written
    handlers: Handlers
    feed: Feed
    murmurs: Murmurs
    limits: Limits
    pools: DesiredPools
    leases: Leases
    takes: Takes
    bells: Bells
    outgoing: Outgoing
    replies: Replies
    doctor: Doctor


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


async def _parts(request: Request) -> Api:
    return _api(request)  # not a plain function as a dependency: FastAPI would run it in a thread, for each request


Parts = Annotated[Api, Depends(_parts)]
Team = Annotated[
    TeamName | None, Query(description="The team meant; your own unless you are an admin. Default: your own.")
]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Any text of your own: a repetition with the same one is answered, not done again.",
    ),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The etag of the state that the change is meant for.")
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="The ETag of what the client has: 304 if that is still so.")
]

WORD = r"[A-Za-z0-9._-]{1,64}"
"""What names of clouds and machine types are made of."""
Word = Annotated[str | None, Query(pattern=f"^{WORD}$")]
Limit = Annotated[int | None, Query(ge=1, le=500)]
After = Annotated[str | None, Query(max_length=500)]


class Page(BaseModel):
    """What all pages have."""

    next: str | None = None
    """Cursor of the next page, for `after`; null on the last one."""


def team_of(caller: Caller, team: str | None) -> str:
    """The team that a caller means. Raises `Forbidden` for another than the own, but for admins."""
    if team is None or caller.sees(team):
        return team or caller.team
    raise Forbidden(f"you belong to the team {caller.team}")


def team_listed(caller: Caller, team: str | None) -> str | None:
    """The team whose things are listed; None, for an admin who names none, is all. Raises `Forbidden`."""
    return None if caller.is_admin and team is None else team_of(caller, team)


async def find_cluster(
    session: AsyncSession, caller: Caller, ref: str, team: str | None = None, *, lock: bool = False
) -> Cluster:
    """The cluster of that id, or the live one of that name; `lock` it to change it.

    Found are those of the caller's team, and to look at and get into them those that it leases. Raises `NotFound`, for
    another team's cluster too, and `Forbidden` for changing one that is only leased.
    """
    whose, named = _meant(caller, ref, team)
    statement = _finding(by_id=isinstance(named, UUID), anywhere=whose is None, lock=lock)
    found = (await session.exec(statement, params={"ref": named, "team": whose})).all()
    if not found:
        raise NotFound(_NO_SUCH_CLUSTER)
    cluster: Cluster = min(found, key=lambda each: each.team != whose)  # two of a name: the own one
    if lock and not caller.sees(cluster.team):
        raise Forbidden(f"your team only leases the cluster {cluster.name}: give the lease back to have it deleted")
    return cluster


@cache
def _finding(*, by_id: bool, anywhere: bool, lock: bool) -> Any:
    """The clusters that `ref` names within the reach of `team`: built once, which takes longer than asking it."""
    ref: BindParameter[Any] = bindparam("ref")
    named = [Cluster.id == ref] if by_id else [Cluster.name == ref, col(Cluster.deleted_at).is_(None)]
    reach = [] if anywhere else [is_within_reach(bindparam("team"), owner=Cluster.team, cluster=Cluster.id)]
    statement = select(Cluster).where(*named, *reach)
    return statement.with_for_update() if lock else statement


async def see_cluster(api: Api, caller: Caller, ref: str, team: str | None = None) -> Seen:
    """Which cluster `find_cluster` would find, and in which state it is. Raises `NotFound`."""
    found = await api.seeing.cluster(*_meant(caller, ref, team))
    if found is None:
        raise NotFound(_NO_SUCH_CLUSTER)
    return found


def _meant(caller: Caller, ref: str, team: str | None) -> Meant:
    """Whose cluster, and which, a caller means. Raises `NotFound` for what the database need not be asked for."""
    meant = team or caller.team
    if not (caller.sees(meant) and could_exist(ref)):
        raise NotFound(_NO_SUCH_CLUSTER)
    if is_id(ref):
        return None if caller.is_admin else meant, UUID(ref)
    return meant, ref


def must_match(if_match: str | None, etag: str, what: str) -> None:
    """Raise `Stale` if `what` is not in a state that If-Match (RFC 9110, section 13.1.1) names."""
    if if_match is None or if_match.strip() == "*":
        return
    if etag not in (named.strip() for named in if_match.split(",")):
        raise Stale(f"{what} is at {etag} by now: read it again, then change it")


async def once(
    request: Request,
    caller: Caller,
    key: str | None,
    body: Any,
    work: Callable[[AsyncSession], Awaitable[Answer]],
    *,
    among: str = "/v1/clusters",
) -> JSONResponse:
    """`answered_once` for a thing `among` others: the answer says where it is found and in which state it is."""
    answer = await answered_once(request, caller, key, body, work)
    headers = {"ETag": answer.etag, "Location": f"{among}/{answer.body['id']}"}
    return JSONResponse(answer.body, answer.status, headers)


async def answered_once(
    request: Request, caller: Caller, key: str | None, body: Any, work: Callable[[AsyncSession], Awaitable[Answer]]
) -> Answer:
    """Do `work` in one transaction, or give the answer that the same Idempotency-Key got before."""
    api = _api(request)
    async with api.db.transaction() as tx:
        return await _claimed(tx, api, request, caller, key, body, work) if key else await work(tx)


async def once_elsewhere(
    request: Request, caller: Caller, key: str | None, body: Any, work: Callable[[], Awaitable[Answer]]
) -> Answer:
    """`answered_once` for work that another service does: no transaction of ours is open meanwhile.

    Whatever is done here has to be harmless when repeated: if we die before the answer is remembered, it is.
    """
    api = _api(request)
    if key is None:
        return await work()
    claim = claim_of(request, caller, key, body)
    async with api.db.transaction() as tx:
        earlier = await claim.claim(tx, api.clock.now())
    if earlier:
        return earlier
    answer = await work()
    async with api.db.transaction() as tx:
        await claim.remember(tx, answer)
    return answer


def claim_of(request: Request, caller: Caller, key: str, body: Any) -> Key:
    """A caller's key, for this request."""
    return Key(caller, key, fingerprint(request.method, str(request.url.path), [str(request.query_params), body]))


async def _claimed(
    tx: AsyncSession,
    api: Api,
    request: Request,
    caller: Caller,
    key: str,
    body: Any,
    work: Callable[[AsyncSession], Awaitable[Answer]],
) -> Answer:
    claim = claim_of(request, caller, key, body)
    earlier = await claim.claim(tx, api.clock.now())
    if earlier:
        return earlier
    answer = await work(tx)
    await claim.remember(tx, answer)
    return answer


def json_response(text: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """What is JSON already, as it is: FastAPI would read and write it once more."""
    return Response(text, status, headers, media_type="application/json")


def answer_with(cluster: Cluster, status: int) -> Answer:
    """A cluster as an answer."""
    return Answer(status, cluster_view(cluster).model_dump(mode="json"), etag_of(cluster))


def cluster_response(status: int, description: str) -> Mapping[int | str, dict[str, Any]]:
    """How OpenAPI describes an answer with a cluster."""
    header = {"schema": {"type": "string"}}
    return {status: {"description": description, "headers": {"ETag": header, "Location": header}}}
