"""Write down a change of a cluster: what follows from it, its place in the order of changes, its timeline, and what
its team is told of that.

Every change of a cluster's row goes through here, with the row locked, so that two facts about one cluster never
overwrite each other. Lock order: cluster, then the counter of changes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, case, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.facts import Facts, Health
from caravan_api.decide.nodes import NodeState, role_of
from caravan_api.decide.phase import Wanted, conclude
from caravan_api.nodes import forget_all
from caravan_api.progress import told
from caravan_api.readmodel import FailureView, NodeSetView
from caravan_api.store import Cluster, Counter, Node, TimelineEntry
from caravan_api.timeline import Entry, removed
from caravan_shared.contracts.events import ClusterDeleted
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import CLUSTER_MOVES, ClusterPhase, Verdict, move
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import after_commit
from caravan_shared.plumbing.dialects import dialect_of, insert_of
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say

log = get_logger(__name__)

CHANGES = "changes"
_VERDICTS_KEPT = 24  # of a cluster: what a list draws of its health
_COUNTED_AS = {
    NodeState.CREATING: ("creating",),
    NodeState.MADE: ("made",),
    NodeState.JOINED: ("made", "joined"),
    NodeState.LEAVING: ("leaving",),
    NodeState.FAILED: ("failed",),
}


async def lock_cluster(tx: AsyncSession, cluster_id: UUID) -> Cluster | None:
    """The cluster's row, locked until the transaction ends; None if there is no such cluster."""
    return (await tx.exec(select(Cluster).where(Cluster.id == cluster_id).with_for_update())).one_or_none()


class Recorder:
    """Records changes; `wake` is called with the cluster after each commit that holds one, `told` after each entry."""

    def __init__(self, clock: Clock, wake: Callable[[Cluster], None], told: Callable[[], None]) -> None:
        self._clock, self._wake, self._told = clock, wake, told

    async def record(self, tx: AsyncSession, cluster: Cluster, source: str, *entries: Entry) -> None:
        """Conclude the cluster's phase anew, number this change; tell timeline and team what happened."""
        now = self._clock.now()
        news = [*entries, *_conclude(cluster)]
        if cluster.phase == ClusterPhase.DELETED and cluster.deleted_at is None:
            news += await _let_go(tx, cluster, now)
        last = await _next_numbers(tx, len(news) + 1)
        for number, entry in enumerate(news, start=last - len(news)):
            tx.add(_row(cluster.id, cluster.team, number, now, source, entry))
        await say(tx, *told(cluster, news))
        cluster.change, cluster.updated_at = last, now
        tx.add(cluster)
        await tx.flush()
        after_commit(tx, lambda: self._wake(cluster))
        after_commit(tx, self._told)

    async def note(self, tx: AsyncSession, cluster_id: UUID, team: str, source: str, entry: Entry) -> None:
        """Add to the timeline of a team's cluster what changes nothing about the cluster itself."""
        await self.note_each(tx, source, [(cluster_id, team, entry)])

    async def note_each(self, tx: AsyncSession, source: str, notes: Sequence[tuple[UUID, str, Entry]]) -> None:
        """The same for several clusters, each with its team, in that order."""
        if not notes:
            return
        await tx.flush()  # all else first: the counter stays locked from here to the commit
        now, first = self._clock.now(), await _next_numbers(tx, len(notes)) - len(notes) + 1
        for number, (cluster_id, team, entry) in enumerate(notes, start=first):
            tx.add(_row(cluster_id, team, number, now, source, entry))
        after_commit(tx, self._told)


async def recount(tx: AsyncSession, cluster: Cluster) -> None:
    """Count the cluster's nodes by set and state in one query, into the cluster's own row."""
    healthy = func.sum(case((col(Node.verdict) == Verdict.HEALTHY.value, 1), else_=0))
    rows = await tx.exec(
        select(Node.node_set, Node.state, func.count(), healthy)
        .where(Node.cluster_id == cluster.id, Node.node_set != "")
        .group_by(col(Node.node_set), col(Node.state))
    )
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for node_set, state, nodes, healthy_nodes in rows:
        for counter in _COUNTED_AS.get(NodeState(state), ()):
            counts[node_set][counter] += nodes
        if state == NodeState.JOINED:
            counts[node_set]["ready"] += healthy_nodes
    cluster.node_sets = node_sets(ClusterSpec.model_validate(cluster.spec), counts)


def node_sets(spec: ClusterSpec, counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The wanted node sets with their counters, then sets that are no longer wanted but still have nodes."""
    wanted = [
        NodeSetView(
            name=node_set.name,
            role=node_set.role,
            machine_type=node_set.machine_type,
            wanted=node_set.count,
            **counts.get(node_set.name, {}),
        )
        for node_set in spec.node_sets()
    ]
    names = {view.name for view in wanted}
    unwanted = [
        NodeSetView(name=name, role=role_of(name), machine_type="", wanted=0, **counted)
        for name, counted in sorted(counts.items())
        if name not in names and any(counted.values())
    ]
    return [view.model_dump(mode="json") for view in (*wanted, *unwanted)]


def with_verdict(verdicts: Sequence[dict[str, Any]], health: Health) -> list[dict[str, Any]]:
    """The last verdicts with this one, which may be the newest of them said again."""
    if verdicts and verdicts[-1]["verdict"] == health.verdict:
        return [*verdicts]
    newest = {"verdict": health.verdict.value, "since": health.since.isoformat()}
    return [*verdicts, newest][-_VERDICTS_KEPT:]


def _conclude(cluster: Cluster) -> Sequence[Entry]:
    facts = Facts.model_validate(cluster.facts)
    wanted = Wanted(
        cluster.generation,
        cluster.retried_at,
        cluster.deletion_asked_at,
        replacing=bool(cluster.replacing),
        asleep=cluster.asleep,
        power_generation=cluster.power_generation,
        woken_at=cluster.woken_at,
    )
    conclusion = conclude(wanted, facts)
    old, new = ClusterPhase(cluster.phase), conclusion.phase
    failure = conclusion.failure
    cluster.phase = move(CLUSTER_MOVES, old, new).value
    cluster.failure = None
    if failure:
        # What the user must mend is mended by another spec, which tries again by itself.
        can_retry = failure.who_can_fix is WhoCanFix.OPERATOR
        view = FailureView(reason=failure.reason, who_can_fix=failure.who_can_fix, retry_helps=can_retry)
        cluster.failure = view.model_dump(mode="json")
    if facts.health:
        cluster.verdict = facts.health.verdict.value
        cluster.verdicts = with_verdict(cluster.verdicts, facts.health)
    if facts.version:
        cluster.version = facts.version.number
    if new == old:
        return ()
    why = f": {failure.reason}" if failure else ""
    return (Entry("phase", f"The cluster is {new}{why}", {"phase": new.value, "before": old.value}),)


async def _let_go(tx: AsyncSession, cluster: Cluster, now: datetime) -> Sequence[Entry]:
    """Free the name of a cluster that nothing is left of, forget its nodes, tell everybody."""
    cluster.deleted_at, cluster.node_sets = now, []
    late = removed(await forget_all(tx, cluster.id))
    await say(tx, ClusterDeleted(cluster_id=cluster.id, team=cluster.team, name=cluster.name))
    log.info("cluster deleted", cluster=str(cluster.id), name=cluster.name)
    gone = Entry("deleted", "Nothing of the cluster is left")
    return [late, gone] if late else [gone]


def _row(cluster_id: UUID, team: str, number: int, now: datetime, source: str, entry: Entry) -> TimelineEntry:
    return TimelineEntry(
        id=number,
        cluster_id=cluster_id,
        team=team,
        at=now,
        kind=entry.kind,
        text=entry.text,
        source=source,
        data=entry.data,
    )


async def _next_numbers(tx: AsyncSession, count: int) -> int:
    """Take `count` numbers and return the last; the counter's row stays locked until the commit."""
    counting, numbers = _counting(dialect_of(tx)), {"name": CHANGES, "value": count}
    return int((await (await tx.connection()).execute(counting, numbers)).scalar_one())


@cache
def _counting(dialect: str) -> Insert:
    """Built once, which takes longer than asking it."""
    insert = insert_of(dialect, Counter)
    further = {"value": Counter.value + insert.excluded.value}
    return insert.on_conflict_do_update(index_elements=["name"], set_=further).returning(col(Counter.value))
