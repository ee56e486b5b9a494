"""Keep verdicts in the store, and say them. Fenced: a replica whose cluster went to another writes nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import bindparam, update
from sqlmodel import and_, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health import verdict
from caravan_health.store import ClusterHealth, NodeHealth, Transition, WatchedNode
from caravan_health.verdict import Belief, NodeBelief, unasked
from caravan_shared.contracts.events import HealthChanged, NodesHealthChanged
from caravan_shared.contracts.facts import Event, NodeVerdict
from caravan_shared.plumbing.database import upsert
from caravan_shared.plumbing.outbox import say

NOBODY = ""
"""The watcher of a cluster that sleeps."""
_NODES_AN_EVENT = 200
_ROWS_AT_ONCE = 500  # looks go on between one piece and the next; each takes some milliseconds
_EVENTS_AT_ONCE = 10

_clusters: Any = ClusterHealth.__table__  # type: ignore[attr-defined]
_TELL = update(_clusters).where(_clusters.c.cluster_id == bindparam("of"))

T = TypeVar("T")


@dataclass(slots=True)
class Change:
    """What changed about one cluster since it was last written."""

    belief: Belief | None = None
    transitions: list[Transition] = field(default_factory=list)
    nodes: dict[str, NodeBelief] = field(default_factory=dict)

    def is_followed_by(self, later: "Change") -> None:
        """Take in what changed after this."""
        self.belief = later.belief or self.belief
        self.transitions += later.transitions
        self.nodes |= later.nodes


async def claim(tx: AsyncSession, cluster_ids: Sequence[UUID], watcher: str, now: datetime) -> dict[UUID, Belief]:
    """Become the watcher of these clusters, and take over what was believed of them."""
    fresh = unasked(now)
    rows = [
        ClusterHealth(
            cluster_id=cluster_id,
            watcher=watcher,
            verdict=fresh.verdict,
            reason=fresh.reason,
            since=now,
            checked_at=now,
            rolled_up_to=now,
        ).model_dump()
        for cluster_id in cluster_ids
    ]
    await upsert(tx, ClusterHealth, rows, key=("cluster_id",), update=("watcher",))
    held = await tx.exec(select(ClusterHealth).where(col(ClusterHealth.cluster_id).in_(cluster_ids)))
    return {row.cluster_id: _believed(row, now) for row in held}


def _believed(row: ClusterHealth, now: datetime) -> Belief:
    return Belief(row.verdict, row.reason, row.since, now, row.nodes_ready, row.nodes_seen)


async def nodes_believed(session: AsyncSession, cluster_ids: Sequence[UUID]) -> dict[UUID, dict[str, NodeBelief]]:
    """What was believed of these clusters' nodes, but for those on their way out."""
    believed: dict[UUID, dict[str, NodeBelief]] = {cluster_id: {} for cluster_id in cluster_ids}
    same_node = and_(
        col(WatchedNode.cluster_id) == col(NodeHealth.cluster_id), col(WatchedNode.name) == col(NodeHealth.name)
    )
    stays = ~col(WatchedNode.leaving), col(WatchedNode.removed_at).is_(None)
    table: Any = NodeHealth
    # Columns, not objects, as in `store.targets`.
    columns: list[Any] = [table.cluster_id, table.name, table.verdict, table.reason, table.since]
    of_these = select(*columns).join(WatchedNode, same_node).where(table.cluster_id.in_(cluster_ids), *stays)
    rows: Sequence[Any] = (await session.exec(of_these)).all()
    for cluster_id, name, *told in rows:
        believed[cluster_id][name] = NodeBelief(*told)
    return believed


async def write(tx: AsyncSession, changes: Mapping[UUID, Change], watcher: str, now: datetime) -> set[UUID]:
    """Write and say these changes, but only of clusters that `watcher` still watches; returns those."""
    mine = select(ClusterHealth.cluster_id).where(
        col(ClusterHealth.watcher) == watcher, col(ClusterHealth.cluster_id).in_(changes)
    )
    owned = set(await tx.exec(mine.with_for_update()))
    kept = {cluster_id: change for cluster_id, change in changes.items() if cluster_id in owned}
    for beliefs in _pieces(_belief_rows(kept, now), _ROWS_AT_ONCE):
        await tx.exec(_TELL, params=beliefs)
    tx.add_all(transition for change in kept.values() for transition in change.transitions)
    for rows in _pieces(_node_rows(kept), _ROWS_AT_ONCE):
        await upsert(tx, NodeHealth, rows, key=("cluster_id", "name"), update=("verdict", "reason", "since"))
    events = (event for cluster_id, change in kept.items() for event in told(cluster_id, change))
    for some in _pieces(events, _EVENTS_AT_ONCE):
        await say(tx, *some)
    return owned


def _belief_rows(changes: Mapping[UUID, Change], now: datetime) -> Iterator[dict[str, Any]]:
    for cluster_id, change in changes.items():
        if belief := change.belief:
            yield {
                "of": cluster_id,
                "verdict": belief.verdict,
                "reason": belief.reason,
                "since": belief.since,
                "nodes_ready": belief.nodes_ready,
                "nodes_seen": belief.nodes_seen,
                "checked_at": now,
            }


def _node_rows(changes: Mapping[UUID, Change]) -> Iterator[dict[str, Any]]:
    """Plain rows: clusters that die together have ten thousand nodes, and as many objects would hold up the looks."""
    for cluster_id, change in changes.items():
        for name, node in change.nodes.items():
            yield {
                "cluster_id": cluster_id,
                "name": name,
                "verdict": node.verdict,
                "reason": node.reason,
                "since": node.since,
            }


async def put_to_sleep(tx: AsyncSession, cluster_id: UUID, now: datetime) -> None:
    """Believe nothing of a cluster that sleeps, and have nobody watch it: a look under way writes nothing any more."""
    row = await tx.get(ClusterHealth, cluster_id, with_for_update=True)
    if row is None or row.watcher == NOBODY:
        return
    believed = _believed(row, now)
    belief = verdict.put_to_sleep(believed, now)
    nodes = verdict.nodes_put_to_sleep((await nodes_believed(tx, [cluster_id]))[cluster_id], now)
    change = Change(belief, nodes=nodes)
    if belief.verdict is not believed.verdict:
        old, new = believed.verdict, belief.verdict
        change.transitions.append(Transition(cluster_id=cluster_id, at=now, old=old, new=new, reason=belief.reason))
    await write(tx, {cluster_id: change}, row.watcher, now)
    await tx.exec(update(ClusterHealth).where(col(ClusterHealth.cluster_id) == cluster_id).values(watcher=NOBODY))


async def beat_clusters(tx: AsyncSession, watcher: str, now: datetime) -> None:
    """Note in one statement that all clusters of `watcher` were looked at until now."""
    await tx.exec(update(ClusterHealth).where(col(ClusterHealth.watcher) == watcher).values(checked_at=now))


async def say_again(tx: AsyncSession, cluster_id: UUID, now: datetime) -> None:
    """Say all that is believed of a cluster and its nodes."""
    row = await tx.get(ClusterHealth, cluster_id)
    if row:
        nodes = await nodes_believed(tx, [cluster_id])
        await say(tx, *told(cluster_id, Change(_believed(row, now), nodes=nodes[cluster_id])))


def told(cluster_id: UUID, change: Change) -> Iterable[Event]:
    """The events that tell a change."""
    belief = change.belief
    if belief:
        yield HealthChanged(
            cluster_id=cluster_id,
            verdict=belief.verdict,
            reason=belief.reason,
            since=belief.since,
            nodes_ready=belief.nodes_ready,
            nodes_seen=belief.nodes_seen,
        )
    nodes = (
        NodeVerdict(name=name, verdict=node.verdict, reason=node.reason, since=node.since)
        for name, node in change.nodes.items()
    )
    for some in _pieces(nodes, _NODES_AN_EVENT):
        yield NodesHealthChanged(cluster_id=cluster_id, nodes=tuple(some))


def _pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while piece := list(islice(remaining, size)):
        yield piece
