"""Decide what a cluster needs next: a run, a look at its members, a word to the others, or patience. Pure.

The order of the questions is the policy. One step is decided at a time; when it is done, everything is asked again, so
that a process may die after any step.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from caravan_bootstrapper.views import ClusterView, NodeView, Play
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState as M

BACKOFF_FIRST_S = 2.0
BACKOFF_LONGEST_S = 60.0
SLOW_POLL_S = 10.0  # nothing is at work; a person may mend the cluster by hand


@dataclass(frozen=True)
class Policy:
    """The settings that decisions depend on; seconds."""

    grace_s: float = 3.0
    poll_s: float = 0.5
    join_deadline_s: float = 900.0
    max_attempts: int = 5


@dataclass(frozen=True)
class Rest:
    """Nothing to do. `after`: look again then, seconds; None: until something is heard."""

    after: float | None = None


@dataclass(frozen=True)
class CancelRuns:
    """End these runs: their cluster is no longer wanted."""

    runs: tuple[UUID, ...]


@dataclass(frozen=True)
class MarkInterrupted:
    """Nobody drives these runs any more; what they were to do is decided anew."""

    runs: tuple[UUID, ...]


@dataclass(frozen=True)
class SayAgain:
    """The cluster was announced again: say every fact of ours again."""


@dataclass(frozen=True)
class NameFirst:
    """Say which control plane is the first, so that the endpoint leads to it."""

    node: NodeView


@dataclass(frozen=True)
class StartRun:
    """Run a playbook on these nodes. `manager` is a control plane that commands about other nodes are given to."""

    play: Play
    nodes: tuple[NodeView, ...]
    manager: NodeView | None = None


@dataclass(frozen=True)
class SayDrained:
    """These nodes are in no cluster: their machines may go."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True)
class EnsureTokens:
    """Make the join tokens known to the running cluster."""


@dataclass(frozen=True)
class LookAtMembers:
    """Ask the kube-apiserver which nodes it lists; look again after `then` seconds while anything is outstanding."""

    then: float


@dataclass(frozen=True)
class SayDone:
    """Every node of the generation has joined and runs the wanted version."""

    nodes: int


@dataclass(frozen=True)
class Abandon:
    """Say that a person has to look."""

    reason: str
    who_can_fix: WhoCanFix
    run_id: UUID | None = None


Step = (
    Rest
    | CancelRuns
    | MarkInterrupted
    | SayAgain
    | NameFirst
    | StartRun
    | SayDrained
    | EnsureTokens
    | LookAtMembers
    | SayDone
    | Abandon
)


def decide(seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """The one next step for the cluster."""
    if dead := tuple(run.id for run in seen.runs if not run.alive):
        return MarkInterrupted(dead)
    if seen.deletion_asked:
        return CancelRuns(tuple(run.id for run in seen.runs)) if seen.runs else Rest()
    if seen.announcement > seen.said_announcement:
        return SayAgain()
    if seen.runs:
        return LookAtMembers(policy.poll_s) if _outstanding(seen) and _may_answer(seen) else Rest()
    if strangers := _never_members(seen):
        return SayDrained(strangers)
    if seen.given_up:
        return LookAtMembers(SLOW_POLL_S) if seen.set_up_at and _outstanding(seen) else Rest()
    if seen.failure and seen.failures >= policy.max_attempts:
        return Abandon(seen.failure.reason, seen.failure.who_can_fix, seen.failure.run_id)
    return _set_up(seen, now, policy) if seen.set_up_at is None else _keep_up(seen, now, policy)


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 2, 4, 8, … 60."""
    return float(min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2 ** max(0, failures - 1)))


def _set_up(seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """Before site.yml has succeeded: name the first control plane, wait for its name and its peers, run."""
    control_planes = _live(seen, Role.CONTROL_PLANE)
    if not control_planes:
        return Rest()
    first = next((node for node in control_planes if node.name == seen.first_node), None)
    if first is None:
        return NameFirst(min(control_planes, key=lambda node: node.name))
    if first.address not in seen.endpoint_addresses:
        return Rest()
    if not _all_ready(seen, Role.ETCD):
        return Rest()  # etcd's members are named once and for all when it starts
    if not _all_ready(seen, Role.CONTROL_PLANE) and (wait := _grace_left(control_planes, now, policy)):
        return Rest(wait)
    if wait := _backoff_left(seen, now):
        return Rest(wait)
    others = [node for node in control_planes if node is not first]
    pushed = [node for node in _live(seen, Role.WORKER) if not node.joins_by_itself]
    return StartRun(Play.SITE, (first, *others, *_live(seen, Role.ETCD), *pushed))


def _keep_up(seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """The cluster runs: take nodes out, let nodes in, bring all to the version, and tell when that is so."""
    manager = _manager(seen)
    if leaving := _members_to_remove(seen):
        if manager is None:
            return SayDrained(leaving)  # no control plane is left that could know them
        return _after_backoff(seen, now, StartRun(Play.REMOVE_NODES, leaving, manager))
    if seen.tokens_to_ensure and seen.endpoint_addresses:
        return EnsureTokens()
    if behind := _behind(seen):  # before anybody joins: a kubelet must not be newer than its kube-apiserver
        return _after_backoff(seen, now, StartRun(Play.UPGRADE, behind, manager))
    waiting = tuple(n for n in seen.nodes if n.live and n.state is M.WAITING and not n.joins_by_itself)
    if waiting:
        if wait := _wait_for_more(seen, waiting, now, policy):
            return Rest(wait)
        return _after_backoff(seen, now, StartRun(Play.ADD_NODES, waiting, manager))
    if outstanding := _outstanding(seen):
        late = [node for node in outstanding if _is_late(seen, node, now, policy)]
        if late:
            return Abandon(_late_sentence(late, seen.spec.version, policy), WhoCanFix.OPERATOR)
        return LookAtMembers(policy.poll_s) if seen.endpoint_addresses else Rest()
    if seen.done_generation < seen.generation <= seen.complete_generation and _is_whole(seen):
        return SayDone(sum(node.live for node in seen.nodes))
    return Rest()


def _live(seen: ClusterView, role: Role) -> list[NodeView]:
    return [node for node in seen.nodes if node.live and node.role is role]


def _all_ready(seen: ClusterView, role: Role) -> bool:
    wanted = sum(node_set.count for node_set in seen.spec.node_sets() if node_set.role is role)
    return len(_live(seen, role)) >= wanted


def _grace_left(nodes: list[NodeView] | tuple[NodeView, ...], now: datetime, policy: Policy) -> float:
    """Seconds until the newest of the nodes has waited long enough for the others."""
    newest = max(node.ready_at for node in nodes if node.ready_at)
    return max(0.0, policy.grace_s - (now - newest).total_seconds())


def _wait_for_more(seen: ClusterView, waiting: tuple[NodeView, ...], now: datetime, policy: Policy) -> float:
    return 0.0 if seen.complete_generation >= seen.generation else _grace_left(waiting, now, policy)


def _backoff_left(seen: ClusterView, now: datetime) -> float:
    if not seen.failures or seen.failure is None:
        return 0.0
    due = seen.failure.at + timedelta(seconds=backoff_s(seen.failures))
    return max(0.0, (due - now).total_seconds())


def _after_backoff(seen: ClusterView, now: datetime, run: StartRun) -> Step:
    wait = _backoff_left(seen, now)
    return Rest(wait) if wait else run


def _may_answer(seen: ClusterView) -> bool:
    return bool(seen.endpoint_addresses) and seen.first_node is not None


def _manager(seen: ClusterView) -> NodeView | None:
    joined = [node for node in _live(seen, Role.CONTROL_PLANE) if node.state is M.JOINED]
    return min(joined, key=lambda node: node.name, default=None)


def _never_members(seen: ClusterView) -> tuple[NodeView, ...]:
    """Nodes that are to leave a cluster that never ran."""
    if seen.set_up_at is not None:
        return ()
    return tuple(node for node in seen.nodes if node.leaving and not node.gone and node.state is not M.DRAINED)


def _members_to_remove(seen: ClusterView) -> tuple[NodeView, ...]:
    """Nodes that are to leave, and members whose machine is gone: the cluster would list them for ever.

    A node that is to leave counts whatever we believe of it: it may have joined by itself a moment ago.
    """
    return tuple(
        node
        for node in seen.nodes
        if node.state is not M.DRAINED
        and ((node.leaving and not node.gone) or (node.gone and node.state in (M.JOINED, M.DRAINING)))
    )


def _behind(seen: ClusterView) -> tuple[NodeView, ...]:
    """Members that run another version and have not been upgraded to the wanted one yet."""
    wanted = seen.spec.version
    return tuple(
        node
        for node in seen.nodes
        if node.live
        and node.state is M.JOINED
        and node.role is not Role.ETCD
        and node.version != wanted
        and node.upgraded_to != wanted
    )


def _outstanding(seen: ClusterView) -> list[NodeView]:
    """Nodes that the kube-apiserver has yet to list with the wanted version."""
    return [
        node
        for node in seen.nodes
        if node.live
        and node.role is not Role.ETCD
        and (node.state is not M.JOINED or node.version != seen.spec.version)
    ]


def _is_late(seen: ClusterView, node: NodeView, now: datetime, policy: Policy) -> bool:
    moments = (node.ready_at, seen.set_up_at, seen.patience_from)
    began = max(moment for moment in moments if moment is not None)
    return (now - began).total_seconds() > policy.join_deadline_s


def _late_sentence(late: list[NodeView], version: str, policy: Policy) -> str:
    names = ", ".join(node.name for node in late[:3]) + (f" and {len(late) - 3} more" if len(late) > 3 else "")
    if all(node.state is M.JOINED for node in late):
        return f"{names} still do not run {version} {policy.join_deadline_s:.0f} s after their upgrade"
    return f"{names} did not join within {policy.join_deadline_s:.0f} s of their machines being ready"


def _is_whole(seen: ClusterView) -> bool:
    """Every set has exactly its wanted nodes, and all of them have joined."""
    live = [node for node in seen.nodes if node.live]
    counts = Counter(node.node_set for node in live)
    wanted = {node_set.name: node_set.count for node_set in seen.spec.node_sets() if node_set.count}
    return counts == wanted and all(node.state is M.JOINED for node in live)
