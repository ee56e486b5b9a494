"""Facts in: write down what the other services tell, and what follows from it. No network, and safe to repeat."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.facts import Facts, Telling, fold, visible
from caravan_api.nodes import record_nodes
from caravan_api.recorder import Recorder, lock_cluster, recount
from caravan_api.store import Cluster, Grant
from caravan_api.timeline import entry
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import ClusterEvent
from caravan_shared.contracts.public import TOLD
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

CLUSTER_FACTS: Sequence[type[ClusterEvent]] = (
    e.NodesCreating,
    e.NodesReady,
    e.NodesFailed,
    e.NodesLeaving,
    e.NodesRemoved,
    e.NodesPowerChanged,
    e.NodesRepairHeld,
    e.BootstrapStarted,
    e.BootstrapProgress,
    e.NodesJoined,
    e.NodesDrained,
    e.BootstrapDone,
    e.BootstrapFailed,
    e.BootstrapHeld,
    e.EndpointIssued,
    e.EndpointWithdrawn,
    e.EndpointFailed,
    e.HealthChanged,
    e.NodesHealthChanged,
)
"""What is told of how far a cluster is: all of it is folded into the cluster's row by `Handlers.cluster_fact`."""

OWN: Sequence[type] = (
    e.ClusterRequested,
    e.ClusterDeletionRequested,
    e.ClusterDeleted,
    *TOLD.values(),
)
"""What the api says itself, and so need not hear."""


class Handlers:
    """Records facts about clusters and grants."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder, self._clock = recorder, clock

    async def cluster_fact(self, heard: Heard[ClusterEvent], tx: AsyncSession) -> None:
        """Fold a fact into its cluster: the facts, the nodes, the counters, the phase, the timeline."""
        cluster = await _known(heard.event, tx)
        if cluster is None:
            return
        now, event = self._clock.now(), heard.event
        cluster.heard_at, cluster.unanswered = now, 0
        news = await record_nodes(tx, cluster.id, event, heard.sequence, now)
        if news:
            await recount(tx, cluster)
        has_changed = _fold_in(cluster, heard)
        has_ended = _end_replacements(cluster, event)
        tx.add(cluster)
        if news or has_changed or has_ended:
            told = entry(event, news)
            await self._recorder.record(tx, cluster, heard.source, *([told] if told else []))

    async def kubeconfig_issued(self, heard: Heard[e.KubeconfigIssued], tx: AsyncSession) -> None:
        """Keep a copy of the grant, once."""
        cluster = await _known(heard.event, tx)
        if cluster:
            await self.record_grant(tx, cluster, heard.event, heard.at, heard.source)

    async def record_grant(
        self, tx: AsyncSession, cluster: Cluster, issued: e.KubeconfigIssued, at: datetime, source: str
    ) -> None:
        """Write down who was granted access, unless it is written already: the door and the event both tell it."""
        grant = await tx.get(Grant, issued.grant_id)
        if grant and grant.issued_at:
            return
        grant = grant or Grant(grant_id=issued.grant_id, cluster_id=cluster.id, user=issued.user)
        grant.role, grant.issued_at, grant.expires_at = issued.role, at, issued.expires_at
        tx.add(grant)
        if cluster.accessed_at is None or cluster.accessed_at < at:
            cluster.accessed_at, cluster.accessed_by = at, issued.user
        told = entry(issued, ())
        await self._recorder.record(tx, cluster, source, *([told] if told else []))

    async def kubeconfig_revoked(self, heard: Heard[e.KubeconfigRevoked], tx: AsyncSession) -> None:
        """Mark the grant as void; it may not have been heard of yet."""
        cluster = await _known(heard.event, tx)
        if cluster is None:
            return
        event = heard.event
        grant = await tx.get(Grant, event.grant_id)
        if grant and grant.revoked_at:
            return
        grant = grant or Grant(grant_id=event.grant_id, cluster_id=cluster.id, user=event.user)
        grant.revoked_at = heard.at
        tx.add(grant)
        told = entry(event, ())
        await self._recorder.record(tx, cluster, heard.source, *([told] if told else []))


async def _known(event: ClusterEvent, tx: AsyncSession) -> Cluster | None:
    """The cluster that a fact is about; None for one that is gone, which nothing revives, or was never ours."""
    cluster = await lock_cluster(tx, event.cluster_id)
    if cluster is None:
        log.warning("fact about an unknown cluster", cluster=str(event.cluster_id), fact=event.subject)
    return None if cluster is None or cluster.deleted_at else cluster


def _fold_in(cluster: Cluster, heard: Heard[ClusterEvent]) -> bool:
    """Fold an event into the cluster's facts; True if people can see a difference."""
    old = Facts.model_validate(cluster.facts)
    telling = Telling(sequence=heard.sequence, at=heard.at, deletion_asked_at=cluster.deletion_asked_at)
    new = fold(old, heard.event, telling)
    if new == old:
        return False
    cluster.facts = new.model_dump(mode="json")
    return bool(visible(new) != visible(old)) or _failed_again(old, new)


def _end_replacements(cluster: Cluster, event: ClusterEvent) -> bool:
    """Nodes that are gone are replaced; True if some were to be."""
    if not isinstance(event, e.NodesRemoved) or not cluster.replacing:
        return False
    gone = {node.name for node in event.nodes}
    left = [name for name in cluster.replacing if name not in gone]
    has_ended = left != cluster.replacing
    cluster.replacing = left
    return has_ended


def _failed_again(old: Facts, new: Facts) -> bool:
    """The same reason after a retry is news: it makes the cluster Failed again."""
    return [failure.at for failure in old.failures()] != [failure.at for failure in new.failures()]
