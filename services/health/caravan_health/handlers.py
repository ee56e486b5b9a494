"""Facts in: record whom to watch. A statement or two each; facts may come doubled, late or out of order."""

from sqlalchemy import case, delete, literal
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health.store import NodeHealth, Watched, change_nodes, change_watched
from caravan_shared.contracts.events import (
    BootstrapDone,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    EndpointWithdrawn,
    NodesDrained,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import UtcDateTime


async def cluster_requested(heard: Heard[ClusterRequested], tx: AsyncSession) -> None:
    """Whoever announces again wants to hear our facts again. The newest says whether the cluster shall sleep."""
    event = heard.event
    woken_at = case((col(Watched.asleep), literal(heard.at, UtcDateTime())), else_=col(Watched.woken_at))
    await change_watched(
        tx,
        event.cluster_id,
        col(Watched.announcement) < event.announcement,
        announcement=event.announcement,
        asleep=event.asleep,
        woken_at=None if event.asleep else woken_at,
    )


async def cluster_gone(heard: Heard[ClusterDeletionRequested] | Heard[ClusterDeleted], tx: AsyncSession) -> None:
    """Stop watching; the row stays as a tombstone, so that no late fact starts it again."""
    await change_watched(tx, heard.event.cluster_id, col(Watched.deleted_at).is_(None), deleted_at=heard.at)


async def endpoint_issued(heard: Heard[EndpointIssued], tx: AsyncSession) -> None:
    """Ask there from now on, unless something newer was heard already."""
    endpoint = heard.event
    await change_watched(
        tx,
        endpoint.cluster_id,
        col(Watched.endpoint_sequence) < heard.sequence,
        endpoint_sequence=heard.sequence,
        host=endpoint.host,
        port=endpoint.port,
        addresses=list(endpoint.addresses),
        virtual_ip=endpoint.virtual_ip,
        ca_certificate=endpoint.ca_certificate,
    )


async def endpoint_withdrawn(heard: Heard[EndpointWithdrawn], tx: AsyncSession) -> None:
    """There is nobody left to ask."""
    newer = col(Watched.endpoint_sequence) < heard.sequence
    await change_watched(tx, heard.event.cluster_id, newer, endpoint_sequence=heard.sequence, host="", addresses=[])


async def bootstrap_done(heard: Heard[BootstrapDone], tx: AsyncSession) -> None:
    """From here on the cluster has to answer."""
    await change_watched(tx, heard.event.cluster_id, started=True)


async def nodes_ready(heard: Heard[NodesReady], tx: AsyncSession) -> None:
    """These nodes are Caravan's own; verdicts on them are told as soon as the cluster lists them."""
    await change_nodes(tx, heard.event.cluster_id, (node.name for node in heard.event.nodes))


async def nodes_joined(heard: Heard[NodesJoined], tx: AsyncSession) -> None:
    """From here on the cluster has to answer, and to list these nodes."""
    await change_nodes(tx, heard.event.cluster_id, (node.name for node in heard.event.nodes), joined=True)
    await change_watched(tx, heard.event.cluster_id, started=True)


async def nodes_leaving(heard: Heard[NodesLeaving] | Heard[NodesDrained], tx: AsyncSession) -> None:
    """Whatever becomes of these nodes now is meant."""
    await change_nodes(tx, heard.event.cluster_id, (node.name for node in heard.event.nodes), leaving=True)


async def nodes_removed(heard: Heard[NodesRemoved], tx: AsyncSession) -> None:
    """Forget these nodes for good: names are never used again."""
    cluster_id, names = heard.event.cluster_id, [node.name for node in heard.event.nodes]
    await change_nodes(tx, cluster_id, names, removed_at=heard.at)
    of_them = col(NodeHealth.cluster_id) == cluster_id, col(NodeHealth.name).in_(names)
    await tx.exec(delete(NodeHealth).where(*of_them))
