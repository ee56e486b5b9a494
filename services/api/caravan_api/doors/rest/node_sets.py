"""Node sets: look at them, scale them."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Developer, Viewer
from caravan_api.doors.rest.bodies import ScaleNodeSet
from caravan_api.doors.rest.clusters import check_etag
from caravan_api.doors.rest.context import (
    IdempotencyKeyHeader,
    IfMatch,
    Parts,
    Team,
    answer_with,
    cluster_response,
    find_cluster,
    once,
)
from caravan_api.errors import NotFound
from caravan_api.idempotency import Answer
from caravan_api.readmodel import ClusterView, NodeSetView, cluster_view
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET, ClusterSpec

router = APIRouter(prefix="/v1/clusters/{cluster}/node-sets", tags=["clusters"])


class NodeSets(BaseModel):
    """All node sets of a cluster."""

    items: list[NodeSetView]


@router.get("")
async def list_node_sets(cluster: str, caller: Viewer, api: Parts, team: Team = None) -> NodeSets:
    """The cluster's node sets and how far their nodes are."""
    async with api.db.reading() as session:
        found = await find_cluster(session, caller, cluster, team)
    return NodeSets(items=cluster_view(found).node_sets)


@router.patch(
    "/{name}",
    status_code=202,
    response_model=ClusterView,
    responses={**cluster_response(200, "As it was wanted already"), **cluster_response(202, "Wanted from now on")},
)
async def scale(
    cluster: str,
    name: str,
    body: ScaleNodeSet,
    request: Request,
    caller: Developer,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Ask for another number of nodes in one set. If-Match is optional: nothing but this number changes."""

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        check_etag(found, if_match)
        spec = resized(ClusterSpec.model_validate(found.spec), name, body.count)
        changed = await api.desired.change(tx, found, caller.user, spec.model_dump(mode="json"))
        return answer_with(found, 202 if changed else 200)

    return await once(request, caller, key, body.model_dump(), work)


def resized(spec: ClusterSpec, name: str, count: int) -> ClusterSpec:
    """The spec with another count for one set, not yet admitted. Raises `NotFound` for a set it does not have."""
    if name not in {node_set.name for node_set in spec.node_sets()}:
        raise NotFound("the cluster has no node set of that name")
    if name == CONTROL_PLANE_SET:
        return spec.model_copy(update={"control_plane": spec.control_plane.model_copy(update={"count": count})})
    if name == ETCD_SET and spec.etcd:
        return spec.model_copy(update={"etcd": spec.etcd.model_copy(update={"count": count})})
    workers = tuple(
        worker_set.model_copy(update={"count": count}) if worker_set.name == name else worker_set
        for worker_set in spec.workers
    )
    return spec.model_copy(update={"workers": workers})
