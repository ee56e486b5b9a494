"""What the bootstrapper saw and concluded, written in one transaction with the facts that tell of it.

Every function takes an open transaction and changes nothing outside it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import update
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.steps import Abandon, Tell
from caravan_bootstrapper.store import Cluster, Node
from caravan_bootstrapper.troubles import who_can_fix
from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.events import (
    BootstrapDone,
    BootstrapFailed,
    BootstrapHeld,
    BootstrapStarted,
    NodesDrained,
    NodesJoined,
)
from caravan_shared.contracts.facts import NodeRef
from caravan_shared.contracts.states import MEMBERSHIP_MOVES, move
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.plumbing.outbox import say

NODES_AN_EVENT = 200  # keeps an event far below NATS' 1 MiB

_nodes: Any = Node


async def name_first(tx: AsyncSession, seen: ClusterView, node: NodeView) -> None:
    """The endpoint shall lead to this control plane."""
    await set_cluster(tx, seen.cluster_id, first_node=node.name)
    await say(tx, _started(seen, node))


async def record_members(tx: AsyncSession, seen: ClusterView, listed: dict[str, str]) -> int:
    """Store and say which nodes the kube-apiserver lists with which kubelet version; how many were news."""
    news = [
        node
        for node in seen.nodes
        if node.live
        and node.name in listed
        and (node.state is not M.JOINED or node.version != listed[node.name])
        and node.state is not M.DRAINING
    ]
    by_version: dict[str, list[NodeView]] = defaultdict(list)
    for node in news:
        by_version[listed[node.name]].append(node)
    for version, joined in by_version.items():
        await move_nodes(tx, seen.cluster_id, joined, M.JOINED, version=version)
        await say(tx, *words_of_joining(seen.cluster_id, version, joined))
    return len(news)


async def drained(tx: AsyncSession, cluster_id: UUID, nodes: Sequence[NodeView | Node]) -> None:
    """These nodes are in no cluster any more, or never were."""
    await move_nodes(tx, cluster_id, nodes, M.DRAINED)
    await say(tx, *_drained(cluster_id, nodes))


async def done(tx: AsyncSession, seen: ClusterView, count: int) -> None:
    """The generation is as it was asked for."""
    await set_cluster(tx, seen.cluster_id, done_generation=seen.generation, failures=0)
    await say(tx, _done(seen, count))


async def abandon(tx: AsyncSession, seen: ClusterView, step: Abandon, now: datetime) -> None:
    """A person has to look."""
    await set_cluster(
        tx,
        seen.cluster_id,
        given_up=True,
        failure=step.reason,
        who_can_fix=step.who_can_fix,
        failed_run=step.run_id,
        failed_at=now,
    )
    await say(tx, _failed(seen, step))


async def tell(tx: AsyncSession, seen: ClusterView, step: Tell) -> None:
    """A person should know what holds this node up; nothing is given up."""
    named = _nodes.cluster_id == seen.cluster_id, _nodes.name == step.node.name
    await tx.exec(update(Node).where(*named).values(told=step.reason))
    await say(tx, _failed(seen, Abandon(step.reason, step.who_can_fix)))


async def held(tx: AsyncSession, seen: ClusterView, reason: str) -> None:
    """This waits for the maintenance window; empty: nothing does any more."""
    await set_cluster(tx, seen.cluster_id, told_held=reason)
    await say(tx, BootstrapHeld(cluster_id=seen.cluster_id, reason=reason))


async def say_again(tx: AsyncSession, seen: ClusterView) -> None:
    """Every fact of ours about the cluster once more: whoever missed one is healed, the others ignore it."""
    await set_cluster(tx, seen.cluster_id, said_announcement=seen.announcement)
    first = next((node for node in seen.nodes if node.name == seen.first_node and node.live), None)
    if first:
        await say(tx, _started(seen, first))
    by_version: dict[str, list[NodeView]] = defaultdict(list)
    for node in seen.nodes:
        if node.state is M.JOINED and node.live and node.version:
            by_version[node.version].append(node)
    for version, joined in by_version.items():
        await say(tx, *words_of_joining(seen.cluster_id, version, joined))
    await say(tx, *_drained(seen.cluster_id, [n for n in seen.nodes if n.state is M.DRAINED and not n.gone]))
    if seen.done_generation == seen.generation:
        await say(tx, _done(seen, sum(node.live for node in seen.nodes)))
    if seen.given_up and seen.failure:
        await say(tx, _failed(seen, Abandon(seen.failure.reason, seen.failure.who_can_fix, seen.failure.run_id)))
    if seen.told_held is not None:
        await say(tx, BootstrapHeld(cluster_id=seen.cluster_id, reason=seen.told_held))
    for node in seen.nodes:
        if node.told:
            await say(tx, _failed(seen, Abandon(node.told, who_can_fix(node.told))))


async def set_cluster(tx: AsyncSession, cluster_id: UUID, **values: Any) -> None:
    """Set columns of the cluster."""
    cluster: Any = Cluster
    await tx.exec(update(Cluster).where(cluster.cluster_id == cluster_id).values(**values))


async def move_nodes(
    tx: AsyncSession, cluster_id: UUID, nodes: Sequence[NodeView | Node], state: M, **values: Any
) -> None:
    """Bring nodes to a state, by an allowed move, and set further columns of theirs."""
    for node in nodes:
        move(MEMBERSHIP_MOVES, M(node.state), state)
    names = [node.name for node in nodes]
    if names:
        these = update(Node).where(_nodes.cluster_id == cluster_id, _nodes.name.in_(names))
        await tx.exec(these.values(state=state, **values))


def _started(seen: ClusterView, node: NodeView) -> BootstrapStarted:
    return BootstrapStarted(
        cluster_id=seen.cluster_id, generation=seen.generation, first_node=node.name, address=node.address
    )


def _done(seen: ClusterView, count: int) -> BootstrapDone:
    return BootstrapDone(cluster_id=seen.cluster_id, generation=seen.generation, version=seen.spec.version, nodes=count)


def _failed(seen: ClusterView, step: Abandon) -> BootstrapFailed:
    return BootstrapFailed(
        cluster_id=seen.cluster_id,
        generation=seen.generation,
        run_id=step.run_id,
        reason=step.reason,
        who_can_fix=step.who_can_fix,
    )


def words_of_joining(cluster_id: UUID, version: str, nodes: Sequence[NodeView | Node]) -> list[NodesJoined]:
    """The words that these nodes have joined."""
    return [NodesJoined(cluster_id=cluster_id, version=version, nodes=refs) for refs in _chunks(nodes)]


def _drained(cluster_id: UUID, nodes: Sequence[NodeView | Node]) -> list[NodesDrained]:
    return [NodesDrained(cluster_id=cluster_id, nodes=refs) for refs in _chunks(nodes)]


def _chunks(nodes: Sequence[NodeView | Node]) -> list[tuple[NodeRef, ...]]:
    refs = [NodeRef(name=node.name, node_set=node.node_set) for node in nodes]
    return [tuple(refs[start : start + NODES_AN_EVENT]) for start in range(0, len(refs), NODES_AN_EVENT)]
