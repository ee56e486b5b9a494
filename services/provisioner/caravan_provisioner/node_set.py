"""Decide what one node set needs next. Pure: no network, no clock, no dice.

A set is full when it has `count` nodes that are planned, creating, ready or failed: a failed node keeps its place until
its replacement is due, so that a set that cannot be filled fails once, visibly, instead of asking for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node, SetProgress
from caravan_provisioner.plan import Plan, Wanted
from caravan_shared.contracts.spec import NodeSet
from caravan_shared.contracts.states import MachineState

_SURGE = 1  # node; how many more than wanted a rolling replacement may have at a time


@dataclass(slots=True)
class SetStep:
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
        """Put the step into the plan, given all nodes the set ever had."""
        leaving = [node for node in members if node.state in (MachineState.LEAVING, MachineState.DELETING)]
        for node in leaving:
            self._finish_leaving(node)
        kept = [node for node in members if node.state not in GONE]
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
