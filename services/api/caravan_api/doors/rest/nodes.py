"""The nodes of a cluster, page by page."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlmodel import col, select

from caravan_api.access import Viewer
from caravan_api.decide.nodes import NodeState
from caravan_api.doors.rest.context import Page, Parts, Team, find_cluster
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.readmodel import NodeView, node_view
from caravan_api.store import Node
from caravan_shared.contracts.spec import NodeSetName

router = APIRouter(prefix="/v1/clusters/{cluster}/nodes", tags=["nodes"])


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
    limit: Annotated[int | None, Query(ge=1, le=500)] = None,
    after: Annotated[str | None, Query(max_length=500)] = None,
) -> NodePage:
    """The cluster's nodes by name. Removed ones only with `state=Removed`."""
    size = limit or api.settings.page_size
    async with api.db.reading() as session:
        found = await find_cluster(session, caller, cluster, team)
        statement = select(Node).where(Node.cluster_id == found.id, Node.node_set != "")
        statement = statement.where(Node.state == state if state else Node.state != NodeState.REMOVED.value)
        if node_set:
            statement = statement.where(Node.node_set == node_set)
        if after:
            statement = statement.where(col(Node.name) > decode_cursor(after, str)[0])
        rows = (await session.exec(statement.order_by(col(Node.name)).limit(size + 1))).all()
    return NodePage(
        items=[node_view(row, simulated=found.simulated) for row in rows[:size]],
        next=encode_cursor(rows[size - 1].name) if len(rows) > size else None,
    )
