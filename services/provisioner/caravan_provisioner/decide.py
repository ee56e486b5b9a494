"""Decide what a cluster's nodes need next: more, fewer, other ones, or nothing. Pure: no network, no clock, no dice.

A node set is full when it has `count` nodes that are planned, creating, ready or failed: a failed node keeps its place
until its replacement is due, so that a set that cannot be filled fails once, visibly, instead of asking for ever.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node, SetProgress
from caravan_shared.contracts.spec import ClusterSpec, NodeSet
from caravan_shared.contracts.states import MachineState

_GONE = frozenset({MachineState.LEAVING, MachineState.DELETING, MachineState.REMOVED})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The cluster as it was last asked for."""

    cluster_id: UUID
    name: str
    generation: int
    retry: int
    spec: ClusterSpec


@dataclass(slots=True)
class Plan:
    """What follows: nodes and sets as they shall be, and whose machines to delete."""

    nodes: dict[str, Node]
    sets: dict[str, SetProgress]
    delete: list[str] = field(default_factory=list)
    """Ids of machines."""
    calls: int = 0
    """Create calls planned."""
    look_again_at: datetime | None = None
    """When time alone changes the decision; None if only news can."""

    def put(self, node: Node) -> None:
        """Set a node's new state; a deletion starts with the state that says so."""
        if node.state is MachineState.DELETING and self.nodes[node.name].state is not MachineState.DELETING:
            self.delete.extend([node.machine_id] if node.machine_id else [])
        self.nodes[node.name] = node

    def look_again(self, at: datetime) -> None:
        """Come back no later than `at`."""
        self.look_again_at = min(self.look_again_at or at, at)


def decide(
    wanted: Wanted,
    nodes: Iterable[Node],
    sets: Mapping[str, SetProgress],
    now: datetime,
    limits: Limits,
    *,
    max_batch: int,
    new_batch: Callable[[], str],
) -> Plan:
    """The next step for every set of `wanted`, and for sets it no longer has; `new_batch` makes unused batch names."""
    plan = Plan({node.name: node for node in nodes}, dict(sets))
    by_set: dict[str, list[Node]] = defaultdict(list)
    for node in plan.nodes.values():
        by_set[node.node_set].append(node)
    specs = {node_set.name: node_set for node_set in wanted.spec.node_sets()}
    for name, members in by_set.items():
        if name not in specs:
            specs[name] = _emptied(name, members[0])
    for name, node_set in specs.items():
        progress = _started_afresh(plan.sets.get(name), wanted, name, now, limits)
        _SetStep(wanted, node_set, progress, plan, now, limits, max_batch, new_batch).run(by_set[name])
    return plan


def decide_deletion(nodes: Iterable[Node], now: datetime) -> Plan:
    """Delete all at once, without draining: nothing of the cluster is to be kept."""
    plan = Plan({node.name: node for node in nodes}, {})
    for node in list(plan.nodes.values()):
        if node.state is MachineState.PLANNED:
            plan.put(node if node.asked_at else node.to(MachineState.REMOVED, now))
        elif node.state not in (MachineState.DELETING, MachineState.REMOVED):
            plan.put(node.to(MachineState.DELETING, now))
    return plan


def is_complete(spec: ClusterSpec, nodes: Iterable[Node]) -> bool:
    """Whether every node that `spec` wants is Ready, and no other is on its way in."""
    ready: dict[str, int] = defaultdict(int)
    types = {node_set.name: node_set.machine_type for node_set in spec.node_sets()}
    for node in nodes:
        if node.state in _GONE:
            continue
        if node.state is not MachineState.READY or types.get(node.node_set) != node.machine_type:
            return False
        ready[node.node_set] += 1
    return all(ready[node_set.name] == node_set.count for node_set in spec.node_sets())


def _emptied(name: str, member: Node) -> NodeSet:
    return NodeSet(name=name, role=member.role, count=0, machine_type=member.machine_type)


def _started_afresh(
    progress: SetProgress | None, wanted: Wanted, name: str, now: datetime, limits: Limits
) -> SetProgress:
    """The set's progress, or a new count where a person asked again or the last failure is long ago."""
    fresh = SetProgress(wanted.cluster_id, name, wanted.generation, wanted.retry)
    if progress is None or (progress.generation, progress.retry) != (wanted.generation, wanted.retry):
        return fresh
    long_ago = now - timedelta(seconds=limits.calm_s)
    if not progress.gave_up and progress.last_failure_at and progress.last_failure_at < long_ago:
        return fresh
    return progress


@dataclass(slots=True)
class _SetStep:
    """The next step of one set."""

    wanted: Wanted
    node_set: NodeSet
    progress: SetProgress
    plan: Plan
    now: datetime
    limits: Limits
    max_batch: int
    new_batch: Callable[[], str]

    def run(self, members: list[Node]) -> None:
        leaving = [node for node in members if node.state in (MachineState.LEAVING, MachineState.DELETING)]
        for node in leaving:
            self._finish_leaving(node)
        kept = [node for node in members if node.state not in _GONE]
        kept = self._drop_outdated_idle(kept)
        kept = self._scale_down(kept)
        kept = self._replace_failed(kept)
        if not self.progress.gave_up:
            kept = self._roll(kept, in_motion=bool(leaving))
            self._create(self.node_set.count - len(kept))
        self.plan.sets[self.node_set.name] = self.progress

    def _finish_leaving(self, node: Node) -> None:
        """A leaving node's machine goes once it is drained, or when that takes too long."""
        if node.state is not MachineState.LEAVING:
            return
        overdue_at = node.since + timedelta(seconds=self.limits.drain_limit_s)
        if node.drained_at or self.now >= overdue_at:
            self.plan.put(node.to(MachineState.DELETING, self.now))
        else:
            self.plan.look_again(overdue_at)

    def _dispose(self, node: Node) -> None:
        """Part with a node: drained first if its cluster may know it."""
        if node.state is MachineState.PLANNED:
            # Once asked for, only a listing can tell whether there is a machine to delete.
            self.plan.put(node if node.asked_at else node.to(MachineState.REMOVED, self.now))
        elif node.ready_at:
            self.plan.put(node.to(MachineState.LEAVING, self.now))
            self.plan.look_again(self.now + timedelta(seconds=self.limits.drain_limit_s))
        else:
            self.plan.put(node.to(MachineState.DELETING, self.now))

    def _drop_outdated_idle(self, kept: list[Node]) -> list[Node]:
        """Nodes of another machine type that never came up serve nobody."""
        idle = [node for node in kept if self._is_outdated(node) and not node.ready_at]
        for node in idle:
            self._dispose(node)
        dropped = {node.name for node in idle}
        return [node for node in kept if node.name not in dropped]

    def _scale_down(self, kept: list[Node]) -> list[Node]:
        """Part with what is too many: failed ones first, then those of another machine type, then the newest."""
        room = self.node_set.count
        if room and any(self._is_outdated(node) for node in kept):
            room += _SURGE
        if len(kept) <= room:
            return kept
        kept = sorted(
            kept,
            key=lambda node: (
                node.state is not MachineState.FAILED,
                not self._is_outdated(node),
                -node.planned_at.timestamp(),
                -node.number,
            ),
        )
        surplus = len(kept) - room
        for node in kept[:surplus]:
            self._dispose(node)
        return kept[surplus:]

    def _replace_failed(self, kept: list[Node]) -> list[Node]:
        """Give failed nodes' places free, all of a set in one round, each round later than the one before."""
        failed = [node for node in kept if node.state is MachineState.FAILED]
        if not failed or self.progress.gave_up:
            return kept
        progress = replace(self.progress, last_failure_at=max(node.since for node in failed))
        if progress.attempts >= self.limits.attempts:
            self.progress = replace(progress, gave_up=True, retry_at=None)
            return kept
        if progress.retry_at is None:
            wait = 0.0 if self._is_lifted() else self.limits.backoff_s * 2**progress.attempts
            progress = replace(progress, retry_at=self.now + timedelta(seconds=wait))
        assert progress.retry_at
        if self.now < progress.retry_at:
            self.progress = progress
            self.plan.look_again(progress.retry_at)
            return kept
        self.progress = replace(progress, attempts=progress.attempts + 1, retry_at=None)
        for node in failed:
            self._dispose(node)
        return [node for node in kept if node.state is not MachineState.FAILED]

    def _is_lifted(self) -> bool:
        """A newer request came after we gave up: whoever sent it waits for the next try, so it comes at once."""
        before = self.plan.sets.get(self.node_set.name)
        return before is not None and before.gave_up

    def _roll(self, kept: list[Node], *, in_motion: bool) -> list[Node]:
        """Replace nodes of another machine type one by one: a new one comes up before an old one leaves."""
        outdated = [node for node in kept if self._is_outdated(node)]
        if not outdated or in_motion or any(node.state is not MachineState.READY for node in kept):
            return kept
        if len(kept) < self.node_set.count:
            return kept
        if len(kept) == self.node_set.count:
            self._create(_SURGE)
            return kept
        oldest = min(outdated, key=lambda node: (node.planned_at, node.number))
        self._dispose(oldest)
        return [node for node in kept if node.name != oldest.name]

    def _create(self, count: int) -> None:
        """Plan new nodes, in batches that one call can make."""
        for start in range(0, count, self.max_batch):
            if self.plan.calls >= self.limits.calls_per_turn:
                self.plan.look_again(self.now)
                return
            self.plan.calls += 1
            batch = self.new_batch()
            for number in range(1, min(self.max_batch, count - start) + 1):
                node = self._planned(batch, number)
                self.plan.nodes[node.name] = node

    def _planned(self, batch: str, number: int) -> Node:
        return Node(
            cluster_id=self.wanted.cluster_id,
            name=f"{self.wanted.name}-{self.node_set.name}-{batch}-{number}",
            node_set=self.node_set.name,
            role=self.node_set.role,
            batch=batch,
            number=number,
            machine_type=self.node_set.machine_type,
            planned_at=self.now,
            state=MachineState.PLANNED,
            since=self.now,
        )

    def _is_outdated(self, node: Node) -> bool:
        return node.machine_type != self.node_set.machine_type


_SURGE = 1  # node; how many more than wanted a rolling replacement may have at a time
