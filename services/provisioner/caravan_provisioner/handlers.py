"""Facts in: write down what others said, whatever the order and however often. The reconciler does the rest."""

import json

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner import news, store
from caravan_provisioner.store import Cluster
from caravan_shared.contracts.events import (
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    HealthChanged,
    NodesDrained,
    NodesHealthChanged,
    NodesJoined,
)
from caravan_shared.plumbing.bus import Heard


async def cluster_requested(heard: Heard[ClusterRequested], tx: AsyncSession) -> None:
    """The newest generation counts; a cluster that is to go stays so."""
    event = heard.event
    cluster = await tx.get(Cluster, event.cluster_id, with_for_update=True)
    if cluster is None:
        cluster = _new(heard)
        tx.add(cluster)
    if cluster.deleted_at:
        return
    if event.generation >= cluster.generation:
        cluster.generation = event.generation
        cluster.spec_json = json.dumps(event.spec.kept())
        cluster.cloud = cluster.cloud or event.spec.cloud
    if event.announcement >= cluster.announcement:
        cluster.replacing = list(event.replace)
        if event.power_generation != cluster.power_generation:
            cluster.power_asked_at = heard.at
        cluster.asleep, cluster.power_generation = event.asleep, event.power_generation
    cluster.announcement = max(cluster.announcement, event.announcement)
    if event.retry > cluster.retry:
        cluster.retry, cluster.retried_at = event.retry, heard.at


async def cluster_deletion_requested(heard: Heard[ClusterDeletionRequested], tx: AsyncSession) -> None:
    """Holds for ever, also for a cluster that we never heard of: somebody waits to hear that nothing is left."""
    cluster = await tx.get(Cluster, heard.event.cluster_id, with_for_update=True)
    if cluster is None:
        cluster = _new(heard)
        tx.add(cluster)
    cluster.deletion_announcement = max(cluster.deletion_announcement, heard.event.announcement)


async def cluster_deleted(heard: Heard[ClusterDeleted], tx: AsyncSession) -> None:
    """Keep a tombstone, so that a late request revives nothing."""
    cluster = await tx.get(Cluster, heard.event.cluster_id, with_for_update=True)
    if cluster is None:
        cluster = _new(heard)
        tx.add(cluster)
    cluster.deleted_at = cluster.deleted_at or heard.at
    await store.forget(tx, heard.event.cluster_id)


async def nodes_drained(heard: Heard[NodesDrained], tx: AsyncSession) -> None:
    """Their machines may go."""
    await news.mark_drained(tx, heard.event.cluster_id, [node.name for node in heard.event.nodes], heard.at)


async def nodes_joined(heard: Heard[NodesJoined], tx: AsyncSession) -> None:
    """From now on their cluster counts on them."""
    await news.mark_joined(tx, heard.event.cluster_id, [node.name for node in heard.event.nodes], heard.at)


async def nodes_health_changed(heard: Heard[NodesHealthChanged], tx: AsyncSession) -> None:
    """What stays Unreachable is replaced, see `repair`."""
    # Two tellings about one cluster are written one after the other, so that the later one stays.
    await tx.get(Cluster, heard.event.cluster_id, with_for_update=True)
    await news.mark_verdicts(tx, heard.event.cluster_id, heard.event.nodes, heard.sequence, heard.at)


async def health_changed(heard: Heard[HealthChanged], tx: AsyncSession) -> None:
    """While health cannot judge a cluster, what it said of the nodes is no ground to replace any."""
    cluster = await tx.get(Cluster, heard.event.cluster_id, with_for_update=True)
    if cluster and heard.sequence >= cluster.verdict_sequence:
        cluster.verdict, cluster.verdict_sequence = heard.event.verdict.value, heard.sequence


def _new(heard: Heard[ClusterRequested] | Heard[ClusterDeletionRequested] | Heard[ClusterDeleted]) -> Cluster:
    event = heard.event
    return Cluster(cluster_id=event.cluster_id, team=event.team, name=event.name, heard_at=heard.at)
