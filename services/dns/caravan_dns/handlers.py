"""Facts in: each handler records what it heard, and nothing else. The reconciler acts on it.

Whatever order facts come in, and however often, the same rows result: flags rise, counters take the higher value,
a verdict gives way to a later one only.
"""

from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns import store
from caravan_dns.store import Cluster
from caravan_shared.contracts.events import (
    BootstrapStarted,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    NodesHealthChanged,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import NodeRef
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, Role
from caravan_shared.plumbing.bus import Heard


async def cluster_requested(heard: Heard[ClusterRequested], tx: AsyncSession) -> None:
    """A cluster needs a name and an authority."""
    event = heard.event
    if cluster := await _living(tx, event.cluster_id):
        cluster.team, cluster.name = event.team, event.name
        cluster.announcement = max(cluster.announcement, event.announcement)
        if virtual_ip := event.spec.network.virtual_ip:  # the same in every telling
            cluster.virtual_ip = str(virtual_ip)


async def cluster_deletion_requested(heard: Heard[ClusterDeletionRequested], tx: AsyncSession) -> None:
    """Its name must go."""
    event = heard.event
    if cluster := await _living(tx, event.cluster_id):
        cluster.team, cluster.name = event.team, event.name
        cluster.deletion_announcement = max(cluster.deletion_announcement, event.announcement)


async def cluster_deleted(heard: Heard[ClusterDeleted], tx: AsyncSession) -> None:
    """Nothing of it is left; neither are its keys."""
    if cluster := await _living(tx, heard.event.cluster_id):
        cluster.deleted_at = heard.at
        await store.erase_secrets(tx, cluster.id)


async def bootstrap_started(heard: Heard[BootstrapStarted], tx: AsyncSession) -> None:
    """The endpoint is where kubeadm starts; the latest start counts."""
    event = heard.event
    cluster = await _living(tx, event.cluster_id)
    if cluster and heard.sequence >= cluster.first_sequence:
        cluster.first_node, cluster.first_sequence = event.first_node, heard.sequence
        await store.tell_of_nodes(tx, cluster.id, {event.first_node: {"address": event.address}})


async def nodes_ready(heard: Heard[NodesReady], tx: AsyncSession) -> None:
    """Control-plane nodes have addresses, and perhaps a load balancer before them."""
    nodes = [node for node in heard.event.nodes if node.role is Role.CONTROL_PLANE]
    if nodes and (cluster := await _living(tx, heard.event.cluster_id)):
        balanced_at = next((node.virtual_ip for node in nodes if node.virtual_ip), None)
        if balanced_at and heard.sequence >= cluster.virtual_ip_sequence:
            cluster.virtual_ip, cluster.virtual_ip_sequence = balanced_at, heard.sequence
        await store.tell_of_nodes(tx, heard.event.cluster_id, {node.name: {"address": node.address} for node in nodes})


async def nodes_joined(heard: Heard[NodesJoined], tx: AsyncSession) -> None:
    """Control-plane nodes serve."""
    await _raise_flag(tx, heard.event.cluster_id, heard.event.nodes, "joined")


async def nodes_leaving(heard: Heard[NodesLeaving], tx: AsyncSession) -> None:
    """Control-plane nodes will stop serving."""
    await _raise_flag(tx, heard.event.cluster_id, heard.event.nodes, "leaving")


async def nodes_removed(heard: Heard[NodesRemoved], tx: AsyncSession) -> None:
    """Control-plane nodes are gone, wished or not."""
    await _raise_flag(tx, heard.event.cluster_id, heard.event.nodes, "leaving")


async def nodes_health_changed(heard: Heard[NodesHealthChanged], tx: AsyncSession) -> None:
    """Some nodes can or cannot be reached."""
    cluster_id = heard.event.cluster_id
    if await _living(tx, cluster_id):
        known = {node.name: node.verdict_sequence for node in await store.nodes_of(tx, cluster_id)}
        told = {
            node.name: {"verdict": node.verdict.value, "verdict_sequence": heard.sequence}
            for node in heard.event.nodes
            if known.get(node.name, 0 if _of_control_plane(node.name) else heard.sequence) < heard.sequence
        }
        await store.tell_of_nodes(tx, cluster_id, told)


async def _living(tx: AsyncSession, cluster_id: UUID) -> Cluster | None:
    """The cluster's row to write to; None for a tombstone, which no late fact revives."""
    cluster = await store.cluster_for_update(tx, cluster_id)
    return None if cluster.deleted_at else cluster


async def _raise_flag(tx: AsyncSession, cluster_id: UUID, nodes: tuple[NodeRef, ...], flag: str) -> None:
    ours = {node.name: {flag: True} for node in nodes if node.node_set == CONTROL_PLANE_SET}
    if ours and await _living(tx, cluster_id):
        await store.tell_of_nodes(tx, cluster_id, ours)


def _of_control_plane(name: str) -> bool:
    """Whether a node nothing else is known of yet may be one of ours: names are `<cluster>-<set>-<batch>-<number>`."""
    return f"-{CONTROL_PLANE_SET}-" in name
