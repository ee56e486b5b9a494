"""Decide what a cluster's nodes need next: more, fewer, other ones, or nothing. Pure: no network, no clock, no dice."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from caravan_provisioner.limits import Limits
from caravan_provisioner.node_set import SetStep
from caravan_provisioner.nodes import GONE, Node, SetProgress
from caravan_provisioner.plan import Batching, Outlook, Plan, Wanted
from caravan_provisioner.repair import repair
from caravan_provisioner.turnstile import Turnstile
from caravan_shared.contracts.spec import ClusterSpec, NodeSet
from caravan_shared.contracts.states import MachineState


def decide(
    wanted: Wanted,
    nodes: Iterable[Node],
    sets: Mapping[str, SetProgress],
    now: datetime,
    limits: Limits,
    *,
    batching: Batching,
    new_batch: Callable[[], str],
    outlook: Outlook = Outlook(),
) -> Plan:
    """The next step for every set of `wanted`, and for sets it no longer has; `new_batch` makes unused batch names."""
    plan = Plan({node.name: _held_by_observation(node) for node in nodes}, dict(sets))
    if wanted.rests or wanted.spec.paused:
        _hold_all_asked(plan, wanted, "the cluster is asleep" if wanted.rests else "the cluster is paused")
        return plan
    turnstile = Turnstile(plan, wanted)
    for members in _by_set(plan).values():
        repair(members, wanted, plan, turnstile, outlook, now, limits)
    by_set = _by_set(plan)
    specs = {node_set.name: node_set for node_set in wanted.spec.node_sets()}
    for name, members in by_set.items():
        if name not in specs:
            specs[name] = _emptied(name, members[0])
    for name, node_set in specs.items():
        progress = _started_afresh(plan.sets.get(name), wanted, name, by_set[name], now, limits)
        step = SetStep(wanted, node_set, progress, plan, turnstile, now, limits, batching, new_batch)
        step.run(by_set[name])
    return plan


def _by_set(plan: Plan) -> dict[str, list[Node]]:
    by_set: dict[str, list[Node]] = defaultdict(list)
    for node in plan.nodes.values():
        by_set[node.node_set].append(node)
    return by_set


def _held_by_observation(node: Node) -> Node:
    """What holds a node is decided anew each time; that of a missing machine `observe` has just done."""
    is_missing = node.state is MachineState.READY and node.missing_since
    return node if node.held is None or is_missing else replace(node, held=None)


def _hold_all_asked(plan: Plan, wanted: Wanted, why: str) -> None:
    """A paused or sleeping cluster keeps what it has; who asked for a replacement is told why nothing happens."""
    for node in list(plan.nodes.values()):
        if node.name in wanted.replace and node.state not in GONE:
            plan.hold(node, why)


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
        if node.state in GONE:
            continue
        if node.state is not MachineState.READY or types.get(node.node_set) != node.machine_type:
            return False
        ready[node.node_set] += 1
    return all(ready[node_set.name] == node_set.count for node_set in spec.node_sets())


def _emptied(name: str, member: Node) -> NodeSet:
    return NodeSet(name=name, role=member.role, count=0, machine_type=member.machine_type, cloud=member.cloud)


def _started_afresh(
    progress: SetProgress | None, wanted: Wanted, name: str, members: Iterable[Node], now: datetime, limits: Limits
) -> SetProgress:
    """The set's progress, or a new count where a person asked again or the last failure is long ago."""
    fresh = SetProgress(wanted.cluster_id, name, wanted.generation, wanted.retry)
    if progress is None or (progress.generation, progress.retry) != (wanted.generation, wanted.retry):
        return fresh
    if progress.gave_up and any(node.name in wanted.replace and node.state is MachineState.FAILED for node in members):
        return fresh
    long_ago = now - timedelta(seconds=limits.calm_s)
    if not progress.gave_up and progress.last_failure_at and progress.last_failure_at < long_ago:
        return fresh
    return progress
