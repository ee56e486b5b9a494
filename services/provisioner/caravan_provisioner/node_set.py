"""Decide what one node set needs next. Pure: no network, no clock, no dice.

A set is full when it has `count` nodes that are planned, creating, ready or failed: a failed node keeps its place until
its replacement is due, so that a set that cannot be filled fails once, visibly, instead of asking for ever.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node, SetProgress
from caravan_provisioner.plan import Batching, Plan, Wanted
from caravan_provisioner.turnstile import Turnstile
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
    turnstile: Turnstile
    now: datetime
    limits: Limits
    batching: Batching
    new_batch: Callable[[], str]

    def run(self, members: list[Node]) -> None:
        """Put the step into the plan, given all nodes the set ever had."""
        leaving = [node for node in members if node.state in (MachineState.LEAVING, MachineState.DELETING)]
        for node in leaving:
            self._finish_leaving(node)
        kept = [node for node in members if node.state not in GONE]
        kept = self._drop_old_idle(kept)
        kept = self._scale_down(kept)
        kept = self._replace_failed(kept)
        if self.progress.gave_up:
            self._hold_asked(kept, f"{self.node_set.name} cannot be filled: a retry tries again")
        else:
            kept = self._roll(kept, in_motion=bool(leaving))
            self._create(self.node_set.count - len(kept) - self._still_members(members))
        self.plan.sets[self.node_set.name] = self.progress

    def _finish_leaving(self, node: Node) -> None:
        """A leaving node's machine goes once it is drained; without that only where nothing is lost, or by order."""
        if node.state is not MachineState.LEAVING:
            return
        overdue_at = self._overdue_at(node)
        if node.drained_at or (overdue_at and self.now >= overdue_at):
            self.plan.put(node.to(MachineState.DELETING, self.now))
        elif overdue_at:
            self.plan.look_again(overdue_at)

    def _overdue_at(self, node: Node) -> datetime | None:
        """When a leaving node's machine goes although nobody said that it is drained; None: never."""
        drain, since = self.wanted.spec.drain, node.since if node.state is MachineState.LEAVING else self.now
        if node.is_dead:
            return since + timedelta(seconds=self.limits.drain_limit_s)
        return since + timedelta(seconds=drain.timeout_s + self.limits.drain_limit_s) if drain.force else None

    def _still_members(self, members: list[Node]) -> int:
        """Members of etcd on their way out: none is added before they are gone, see `turnstile`."""
        if not self.turnstile.carries_etcd(self.node_set.role):
            return 0
        now = (self.plan.nodes[node.name] for node in members)
        return sum(node.state is MachineState.LEAVING and node.is_member for node in now)

    def _dispose(self, node: Node) -> None:
        """Part with a node: drained first if its cluster may know it."""
        node = replace(node, held=None)
        if node.state is MachineState.PLANNED:
            # Once asked for, only a listing can tell whether there is a machine to delete.
            self.plan.put(node if node.asked_at else node.to(MachineState.REMOVED, self.now))
        elif node.ready_at:
            if overdue_at := self._overdue_at(node):
                self.plan.look_again(overdue_at)
            self.plan.put(node.to(MachineState.LEAVING, self.now))
        else:
            self.plan.put(node.to(MachineState.DELETING, self.now))

    def _let_go(self, nodes: Iterable[Node]) -> set[str]:
        """Part with those of the nodes that may leave now, hold the others; the names of those that leave."""
        gone: set[str] = set()
        for node in nodes:
            if reason := self.turnstile.refuses(node):
                self.plan.hold(node, reason)
            else:
                self._dispose(node)
                gone.add(node.name)
        return gone

    def _drop_old_idle(self, kept: list[Node]) -> list[Node]:
        """Nodes that are to be replaced and never came up serve nobody."""
        idle = [node for node in kept if self._is_old(node) and not node.ready_at]
        for node in idle:
            self._dispose(node)
        dropped = {node.name for node in idle}
        return [node for node in kept if node.name not in dropped]

    def _scale_down(self, kept: list[Node]) -> list[Node]:
        """Part with what is too many: the dead first, then those to be replaced, the unjoined, the newest."""
        room = self.node_set.count
        if room and any(self._is_old(node) for node in kept):
            room += _SURGE
        if len(kept) <= room:
            return kept
        by_worth = sorted(
            kept,
            key=lambda node: (
                node.state is not MachineState.FAILED,
                not self._is_old(node),
                not node.is_dead,
                node.is_member,
                -node.planned_at.timestamp(),
                -node.number,
            ),
        )
        gone = self._let_go(by_worth[: len(kept) - room])
        return [self.plan.nodes[node.name] for node in by_worth if node.name not in gone]

    def _replace_failed(self, kept: list[Node]) -> list[Node]:
        """Give failed nodes' places free, all of a set in one round, each round later than the one before."""
        failed = [node for node in kept if node.state is MachineState.FAILED and not self._is_untold(node)]
        if not failed or self.progress.gave_up:
            return kept
        asked_for = [node for node in failed if node.name in self.wanted.replace]
        gone = self._let_go(asked_for)
        others = [node for node in failed if node not in asked_for]
        if others and self._round_is_due(others):
            let_go = self._let_go(others)
            if let_go:
                self.progress = replace(self.progress, attempts=self.progress.attempts + 1, retry_at=None)
            gone |= let_go
        return [node for node in kept if node.name not in gone]

    def _is_untold(self, node: Node) -> bool:
        """The others believe that the node runs; they hear that it failed before they hear that it leaves."""
        if node.said is not MachineState.READY:
            return False
        self.plan.look_again(self.now)
        return True

    def _round_is_due(self, failed: list[Node]) -> bool:
        """Whether these failed nodes may be replaced now; notes when they may be, or that there were rounds enough."""
        progress = replace(self.progress, last_failure_at=max(node.since for node in failed))
        if progress.attempts >= self.limits.attempts:
            self.progress = replace(progress, gave_up=True, retry_at=None)
            return False
        if progress.retry_at is None:
            wait = 0.0 if self._is_lifted() else self.limits.backoff_s * 2**progress.attempts
            progress = replace(progress, retry_at=self.now + timedelta(seconds=wait))
        self.progress = progress
        assert progress.retry_at
        if self.now < progress.retry_at:
            self.plan.look_again(progress.retry_at)
            return False
        return True

    def _is_lifted(self) -> bool:
        """A newer request came after we gave up: whoever sent it waits for the next try, so it comes at once."""
        before = self.plan.sets.get(self.node_set.name)
        return before is not None and before.gave_up

    def _roll(self, kept: list[Node], *, in_motion: bool) -> list[Node]:
        """Replace nodes that run one by one: a new one comes up, and has joined, before an old one leaves."""
        old = sorted((node for node in kept if self._is_old(node)), key=lambda node: (node.planned_at, node.number))
        if not old:
            return kept
        first, rest = old[0], old[1:]
        self._hold_asked(rest, f"the nodes of {self.node_set.name} are replaced one after the other")
        has_successor = len(kept) > self.node_set.count
        if has_successor and not self._is_up(max(kept, key=lambda node: (node.planned_at, node.number)), first):
            return kept
        reason = self._why_not_yet(first, kept, in_motion=in_motion)
        if reason:
            self._hold_asked([first], reason)
        elif has_successor:
            self._dispose(first)
            return [node for node in kept if node is not first]
        else:
            self._create(_SURGE)
        return kept

    def _is_up(self, successor: Node, first: Node) -> bool:
        """Whether the successor of `first` is as far as `first` ever was."""
        return successor.state is MachineState.READY and (successor.joined_at is not None or not first.joined_at)

    def _why_not_yet(self, first: Node, kept: list[Node], *, in_motion: bool) -> str | None:
        """Why `first` has to wait for others before its successor is made, or before it leaves."""
        if first.is_dead:
            return "it is out of sight"  # `repair` has the last word on it, and has mostly said more
        if in_motion:
            return f"another node of {self.node_set.name} leaves first"
        unready = next((node for node in kept if node.state is not MachineState.READY), None)
        if unready:
            return f"{unready.name} has to come up first"
        if len(kept) < self.node_set.count:
            return f"{self.node_set.name} is being filled first"
        if len(kept) == self.node_set.count:
            return self.turnstile.refuses_to_begin(first)
        return self.turnstile.refuses(first)

    def _hold_asked(self, nodes: Iterable[Node], reason: str) -> None:
        """Tell why nodes have to wait that a person wants replaced; a new machine type is of the set as a whole."""
        for node in nodes:
            if node.name in self.wanted.replace and self.plan.nodes[node.name].held is None:
                self.plan.hold(self.plan.nodes[node.name], reason)

    def _create(self, count: int) -> None:
        """Plan new nodes, in batches that one call can make."""
        size = self.batching.size(count)
        for start in range(0, count, size):
            if self.plan.calls >= self.limits.calls_per_turn:
                self.plan.look_again(self.now)
                return
            self.plan.calls += 1
            batch = self.new_batch()
            for number in range(1, min(size, count - start) + 1):
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
            cloud=self.node_set.cloud,
            planned_at=self.now,
            state=MachineState.PLANNED,
            since=self.now,
        )

    def _is_old(self, node: Node) -> bool:
        """Another one shall take its place: its set has another machine type by now, or a person asked for it."""
        return node.machine_type != self.node_set.machine_type or node.name in self.wanted.replace
