"""The nodes of a cluster: page by page, and one of them replaced by another."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Developer, Viewer
from caravan_api.decide.nodes import NodeState
from caravan_api.doors.rest.bodies import ReplaceNode
from caravan_api.doors.rest.context import (
    After,
    IdempotencyKeyHeader,
    Limit,
    Page,
    Parts,
    Team,
    answer_with,
    cluster_response,
    find_cluster,
    once,
    see_cluster,
)
from caravan_api.errors import Conflict, NotFound
from caravan_api.idempotency import Answer
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.readmodel import ClusterView, NodeView, node_view
from caravan_api.store import Cluster, Node
from caravan_shared.contracts.spec import NodeSetName

router = APIRouter(prefix="/v1/clusters/{cluster}/nodes", tags=["clusters"])


class NodePage(Page):
    """A page of nodes, by name."""

    items: list[NodeView]


@router.get("")
async def list_nodes(
    cluster: str,
    caller: Viewer,
    api: Parts,
    team: Team = None,
    node_set: NodeSetName | None = None,
    state: NodeState | None = None,
    limit: Limit = None,
    after: After = None,
) -> NodePage:
    """The cluster's nodes by name. Removed ones only with `state=Removed`."""
    size = limit or api.settings.page_size
    found = await see_cluster(api, caller, cluster, team)
    statement = select(Node).where(Node.cluster_id == found.id, Node.node_set != "")
    statement = statement.where(Node.state == state if state else Node.state != NodeState.REMOVED.value)
    if node_set:
        statement = statement.where(Node.node_set == node_set)
    if after:
        statement = statement.where(col(Node.name) > decode_cursor(after, str)[0])
    async with api.db.reading() as session:
        rows = (await session.exec(statement.order_by(col(Node.name)).limit(size + 1))).all()
    return NodePage(
        items=[node_view(row, simulated=found.simulated) for row in rows[:size]],
        next=encode_cursor(rows[size - 1].name) if len(rows) > size else None,
    )


@router.post(
    "/{node}/replace",
    status_code=202,
    response_model=ClusterView,
    responses={
        **cluster_response(200, "To be replaced already"),
        **cluster_response(202, "Replaced from now on"),
    },
)
async def replace(
    cluster: str,
    node: str,
    request: Request,
    caller: Developer,
    api: Parts,
    body: ReplaceNode | None = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Have another node take this one's place: before it leaves while it runs, after it left where it is dead."""
    asked = body or ReplaceNode()

    async def work(tx: AsyncSession) -> Answer:
        found = await find_cluster(tx, caller, cluster, team, lock=True)
        await _find_staying(tx, found, node)
        changed = await api.desired.replace_node(tx, found, caller.user, node, asked.reason)
        return answer_with(found, 202 if changed else 200)

    return await once(request, caller, key, asked.model_dump(), work)


async def _find_staying(tx: AsyncSession, cluster: Cluster, name: str) -> None:
    """Raise `NotFound` for a node that the cluster does not have, and `Conflict` for one on its way out."""
    found = await tx.get(Node, (cluster.id, name)) if name.isascii() and name.isprintable() else None
    if found is None or not found.node_set or found.state == NodeState.REMOVED:
        raise NotFound("the cluster has no node of that name")
    if found.state == NodeState.LEAVING and name not in cluster.replacing:
        raise Conflict(f"{name} is leaving already")
