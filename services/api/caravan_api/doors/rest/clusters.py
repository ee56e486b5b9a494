"""Clusters: ask for them, look at them, change them, let them go."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Developer, Viewer
from caravan_api.doors.rest.bodies import ChangeCluster, CreateCluster, LimitLifetime, merged
from caravan_api.doors.rest.context import (
    After,
    IdempotencyKeyHeader,
    IfMatch,
    IfNoneMatch,
    Limit,
    Page,
    Parts,
    Team,
    Word,
    answer_with,
    cluster_response,
    find_cluster,
    json_response,
    must_match,
    once,
    see_cluster,
    team_listed,
    team_of,
)
from caravan_api.errors import NoPrecondition
from caravan_api.idempotency import Answer
from caravan_api.listing import PART_OF_NAME, Filters, Sort, columns_of
from caravan_api.readmodel import ClusterDetail, ClusterView, etag_of, validator_of
from caravan_api.seen import SEEN, Seen
from caravan_api.store import Cluster
from caravan_api.tracelinks import trace_of
from caravan_shared.contracts.spec import KubernetesVersion
from caravan_shared.contracts.states import ClusterPhase, Verdict

router = APIRouter(prefix="/v1/clusters", tags=["clusters"])

_OBSERVED = re.compile(r'-\d+"')
"""What a validator adds to an etag."""


class ClusterPage(Page):
    """A page of clusters."""

    items: list[ClusterView]


@router.post("", status_code=202, response_model=ClusterView, responses={**cluster_response(202, "Wanted from now on")})
async def create(
    body: CreateCluster,
    request: Request,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Ask for a cluster. It is admitted whole or refused with every problem; what was admitted is never lost."""
    owner = team_of(caller, team)

    async def work(tx: AsyncSession) -> Answer:
        asked = {"name": body.name, "spec": body.spec}
        cluster = await api.desired.create(tx, owner, caller.user, asked, lifetime_s=body.lifetime_s)
        return answer_with(cluster, 202)

    return await once(request, caller, key, body.model_dump(), work)


@router.get("", response_model=ClusterPage)
async def list_clusters(
    caller: Viewer,
    api: Parts,
    team: Team = None,
    phase: ClusterPhase | None = None,
    health: Verdict | None = None,
    version: KubernetesVersion | None = None,
    cloud: Word = None,
    q: Annotated[str | None, Query(pattern=PART_OF_NAME, description="Part of a name.")] = None,
    sort: Sort = Sort.AGE_DOWN,
    limit: Limit = None,
    after: After = None,
) -> Response:
    """Your team's clusters and those it leases (an admin's: all teams'), page by page.

    Deleted ones only with `phase=Deleted`.
    """
    filters = Filters(team_listed(caller, team), phase, health, version, cloud, q)
    async with api.db.reading() as session:
        listed = await columns_of(session, SEEN, filters, sort, limit or api.settings.page_size, after)
    items = await api.written.views(map(Seen._make, listed.clusters))
    return json_response(f'{{"next":{json.dumps(listed.next)},"items":[{",".join(items.values())}]}}')


@router.get(
    "/{cluster}", response_model=ClusterDetail, responses={304: {"description": "As the client has it", "content": {}}}
)
async def get(
    cluster: str, caller: Viewer, api: Parts, if_none_match: IfNoneMatch = None, team: Team = None
) -> Response:
    """One cluster, by id or name. If-None-Match spares who asks again what has not changed since."""
    seen = await see_cluster(api, caller, cluster, team)
    tag = validator_of(seen)
    if if_none_match and tag in if_none_match:
        return Response(status_code=304, headers={"ETag": tag})
    trace = await trace_of(api.seeing, seen.id, api.settings.trace_url)
    text, tag = await api.written.detail(seen, trace)
    return json_response(text, {"ETag": tag})


@router.patch(
    "/{cluster}",
    status_code=202,
    response_model=ClusterView,
    responses={**cluster_response(200, "As it was wanted already"), **cluster_response(202, "Wanted from now on")},
)
async def change(
    cluster: str,
    body: ChangeCluster,
    request: Request,
    caller: Developer,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Change a cluster's spec by a merge patch. If-Match keeps two people from overwriting each other."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        if if_match is None:
            raise NoPrecondition
        check_etag(found, if_match)
        changed = await api.desired.change(tx, found, caller.user, merged(found.spec, body.spec))
        return answer_with(found, 202 if changed else 200)

    return await once(request, caller, key, body.model_dump(), work)


@router.delete(
    "/{cluster}", status_code=202, response_model=ClusterView, responses={**cluster_response(202, "Being deleted")}
)
async def delete(
    cluster: str,
    request: Request,
    caller: Developer,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Delete a cluster, in whatever state it is. Asking again is fine."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        check_etag(found, if_match)
        await api.desired.delete(tx, found, caller.user)
        return answer_with(found, 202)

    return await once(request, caller, key, None, work)


@router.post(
    "/{cluster}/retry", status_code=202, response_model=ClusterView, responses={**cluster_response(202, "Tried again")}
)
async def retry(
    cluster: str, request: Request, caller: Developer, api: Parts, key: IdempotencyKeyHeader = None, team: Team = None
) -> JSONResponse:
    """Lift the cluster's failures: every service tries again."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        await api.desired.retry(tx, found, caller.user)
        return answer_with(found, 202)

    return await once(request, caller, key, None, work)


@router.post(
    "/{cluster}/hibernate",
    status_code=202,
    response_model=ClusterView,
    responses={**cluster_response(200, "Asleep already"), **cluster_response(202, "Being put to sleep")},
)
async def hibernate(
    cluster: str, request: Request, caller: Developer, api: Parts, key: IdempotencyKeyHeader = None, team: Team = None
) -> JSONResponse:
    """Stop all machines of a Ready cluster until it is woken; disks, names and addresses are kept."""
    return await _switched(api.desired.hibernate, cluster, request, caller, key, team)


@router.post(
    "/{cluster}/wake",
    status_code=202,
    response_model=ClusterView,
    responses={**cluster_response(200, "Not asleep"), **cluster_response(202, "Being woken")},
)
async def wake(
    cluster: str, request: Request, caller: Developer, api: Parts, key: IdempotencyKeyHeader = None, team: Team = None
) -> JSONResponse:
    """Start the machines of a sleeping cluster again; it is Ready once its kube-apiserver answers."""
    return await _switched(api.desired.wake, cluster, request, caller, key, team)


@router.put(
    "/{cluster}/lifetime", response_model=ClusterView, responses={**cluster_response(200, "It lives so long from now")}
)
async def limit_lifetime(
    cluster: str,
    body: LimitLifetime,
    request: Request,
    caller: Developer,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Say how long the cluster lives from now on: its owners are warned in time, then it is deleted."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        await api.desired.limit_lifetime(tx, found, caller.user, body.lifetime_s)
        return answer_with(found, 200)

    return await once(request, caller, key, body.model_dump(), work)


def check_etag(cluster: Cluster, if_match: str | None) -> None:
    """Raise `Stale` if what is wanted of the cluster is not what If-Match names; what was observed may be another."""
    wanted = _OBSERVED.sub('"', if_match) if if_match else None
    must_match(wanted, etag_of(cluster), f"the cluster {cluster.name}")


async def _switched(
    switch: Callable[[AsyncSession, Cluster, str], Awaitable[bool]],
    cluster: str,
    request: Request,
    caller: Caller,
    key: str | None,
    team: str | None,
) -> JSONResponse:
    """Have it put to sleep or woken; 200 where it is as asked for already."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        return answer_with(found, 202 if await switch(tx, found, caller.user) else 200)

    return await once(request, caller, key, None, work)
