"""Facts in: each is recorded so that doubled, late and shuffled ones change nothing. The reconciler does the rest."""

from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import delete, update
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import logs
from caravan_bootstrapper.records import NO_TROUBLE
from caravan_bootstrapper.store import Cluster, JoinToken, Node, Run, SshKey, open_cluster
from caravan_shared.contracts.events import (
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    EndpointWithdrawn,
    NodesFailed,
    NodesHealthChanged,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import ClusterEvent, ReadyNode
from caravan_shared.contracts.states import MembershipState
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import upsert

TOMBSTONE_FOR = timedelta(days=7)  # the stream forgets facts far earlier
_TOLD = (
    "node_set",
    "role",
    "machine_id",
    "address",
    "connection",
    "joins_by_itself",
    "ssh_user",
    "ssh_port",
    "host_keys",
)
_nodes: Any = Node.__table__  # type: ignore[attr-defined]
_IS_NEWER = _nodes.c.verdict_sequence < bindparam("sequence")
_JUDGE = (
    update(_nodes)
    .where(_nodes.c.cluster_id == bindparam("cluster"), _nodes.c.name == bindparam("node"), _IS_NEWER)
    .values(verdict=bindparam("judged"), verdict_since=bindparam("since"), verdict_sequence=bindparam("sequence"))
)


async def cluster_requested(heard: Heard[ClusterRequested], tx: AsyncSession) -> None:
    """Keep the newest spec; a retry by a person or a new spec lifts earlier failures."""
    event = heard.event
    cluster = await open_cluster(tx, event.cluster_id)
    if cluster is None:
        return
    if event.retry > cluster.retry or event.generation > cluster.generation:
        cluster.failures, cluster.given_up, cluster.patience_from = 0, False, heard.at
        table: Any = Node
        of_cluster = update(Node).where(table.cluster_id == event.cluster_id)
        await tx.exec(of_cluster.values(**NO_TROUBLE))
    if event.generation >= cluster.generation:
        cluster.name, cluster.generation, cluster.spec = (
            event.name,
            event.generation,
            event.spec.kept(),
        )
    if event.announcement >= cluster.announcement:
        if cluster.asleep and not event.asleep:
            cluster.patience_from = heard.at
        cluster.asleep = event.asleep
    cluster.retry = max(cluster.retry, event.retry)
    cluster.announcement = max(cluster.announcement, event.announcement)
    tx.add(cluster)


async def deletion_requested(heard: Heard[ClusterDeletionRequested], tx: AsyncSession) -> None:
    """From now on nothing is started any more, whatever is heard later."""
    if cluster := await open_cluster(tx, heard.event.cluster_id):
        cluster.deletion_asked = True
        tx.add(cluster)


async def cluster_deleted(heard: Heard[ClusterDeleted], tx: AsyncSession) -> None:
    """Forget all but a tombstone, and tombstones that have done their service."""
    cluster_id = heard.event.cluster_id
    await logs.forget_all(tx, cluster_id)
    for table in (Node, Run, JoinToken, SshKey):
        await tx.exec(delete(table).where(table.cluster_id == cluster_id))  # type: ignore[arg-type]
    if cluster := await open_cluster(tx, cluster_id):
        cluster.deleted_at, cluster.spec = heard.at, None
        tx.add(cluster)
    await tx.exec(delete(Cluster).where(Cluster.deleted_at < heard.at - TOMBSTONE_FOR))  # type: ignore[arg-type,operator]


async def nodes_ready(heard: Heard[NodesReady], tx: AsyncSession) -> None:
    """Machines run: remember how to reach them, and since when they wait."""
    event = heard.event
    cluster = await open_cluster(tx, event.cluster_id)
    if cluster is None:
        return
    if event.complete:
        cluster.complete_generation = max(cluster.complete_generation, event.generation)
        tx.add(cluster)
    rows = [_row(event, node) for node in event.nodes]
    await upsert(tx, Node, rows, key=("cluster_id", "name"), update=_TOLD)
    table: Any = Node
    named = table.name.in_([node.name for node in event.nodes])
    waits_since = update(Node).where(table.cluster_id == event.cluster_id, named, table.ready_at.is_(None))
    await tx.exec(waits_since.values(ready_at=heard.at))


async def nodes_leaving(heard: Heard[NodesLeaving], tx: AsyncSession) -> None:
    """These are to be drained."""
    await _flag(tx, heard.event, leaving=True)


async def nodes_removed(heard: Heard[NodesRemoved], tx: AsyncSession) -> None:
    """Their machines are gone."""
    await _flag(tx, heard.event, gone=True)


async def nodes_failed(heard: Heard[NodesFailed], tx: AsyncSession) -> None:
    """Their machines will never do anything again."""
    await _flag(tx, heard.event, gone=True)


async def nodes_health_changed(heard: Heard[NodesHealthChanged], tx: AsyncSession) -> None:
    """Health believes something else of these nodes."""
    event = heard.event
    judged = [
        {
            "cluster": event.cluster_id,
            "node": node.name,
            "judged": node.verdict,
            "since": node.since,
            "sequence": heard.sequence,
        }
        for node in event.nodes
    ]
    if judged:
        await tx.exec(_JUDGE, params=judged)


async def endpoint_issued(heard: Heard[EndpointIssued], tx: AsyncSession) -> None:
    """Keep the newest copy of the endpoint."""
    event = heard.event
    cluster = await open_cluster(tx, event.cluster_id)
    if cluster is None or heard.sequence < cluster.endpoint_sequence:
        return
    cluster.endpoint_sequence = heard.sequence
    cluster.endpoint_host, cluster.endpoint_port = event.host, event.port
    cluster.endpoint_addresses = list(event.addresses)
    tx.add(cluster)


async def endpoint_withdrawn(heard: Heard[EndpointWithdrawn], tx: AsyncSession) -> None:
    """Nobody answers there any more."""
    cluster = await open_cluster(tx, heard.event.cluster_id)
    if cluster is None or heard.sequence < cluster.endpoint_sequence:
        return
    cluster.endpoint_sequence, cluster.endpoint_addresses = heard.sequence, []
    tx.add(cluster)


def _row(event: NodesReady, node: ReadyNode) -> dict[str, Any]:
    state = MembershipState.JOINING if node.joins_by_itself else MembershipState.WAITING
    told = {field: getattr(node, field) for field in _TOLD} | {"host_keys": list(node.host_keys)}
    return Node(cluster_id=event.cluster_id, name=node.name, state=state, **told).model_dump()


async def _flag(tx: AsyncSession, event: NodesLeaving | NodesRemoved | NodesFailed, **flags: bool) -> None:
    """Set flags on the named nodes, known or not yet."""
    if await open_cluster(tx, event.cluster_id) is None:
        return
    rows = [
        Node(cluster_id=event.cluster_id, name=node.name, node_set=node.node_set).model_dump() | flags
        for node in event.nodes
    ]
    await upsert(tx, Node, rows, key=("cluster_id", "name"), update=tuple(flags))


HANDLERS: dict[type[ClusterEvent], Any] = {
    ClusterRequested: cluster_requested,
    ClusterDeletionRequested: deletion_requested,
    ClusterDeleted: cluster_deleted,
    NodesReady: nodes_ready,
    NodesLeaving: nodes_leaving,
    NodesRemoved: nodes_removed,
    NodesFailed: nodes_failed,
    NodesHealthChanged: nodes_health_changed,
    EndpointIssued: endpoint_issued,
    EndpointWithdrawn: endpoint_withdrawn,
}
"""Which handler hears what."""
