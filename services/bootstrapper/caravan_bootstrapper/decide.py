"""Decide what a cluster needs next: a run, a look at its members, a word to the others, or patience. Pure.

The order of the questions is the policy. One step is decided at a time; when it is done, everything is asked again, so
that a process may die after any step.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from caravan_bootstrapper import removals, troubles, upgrades, upkeep, windows
from caravan_bootstrapper.managers import manager
from caravan_bootstrapper.steps import (
    Abandon,
    CancelRuns,
    EnsureTokens,
    LookAtMembers,
    MarkInterrupted,
    NameFirst,
    Policy,
    Rest,
    SayAgain,
    SayDone,
    SayDrained,
    StartRun,
    Step,
)
from caravan_bootstrapper.views import ClusterView, NodeView, Play
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.upgrades import GapInVersions, version_key

BACKOFF_FIRST_S = 2.0
BACKOFF_LONGEST_S = 60.0
SLOW_POLL_S = 10.0  # nothing is at work; a person may mend the cluster by hand

Question = Callable[[ClusterView, datetime, Policy], Step | None]
"""Answers with what is to be done now, with `Rest` for how long to wait before it is, or with None."""


def decide(seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """The one next step for the cluster."""
    if dead := tuple(run.id for run in seen.runs if not run.alive):
        return MarkInterrupted(dead)
    if seen.deletion_asked:
        return CancelRuns(tuple(run.id for run in seen.runs)) if seen.runs else Rest()
    if seen.announcement > seen.said_announcement:
        return SayAgain()
    if seen.asleep:
        return Rest()  # nobody would answer; whoever wakes it wakes us
    if seen.spec.paused:
        return _first_answer(_PAUSED, seen, now, policy)
    if seen.runs:
        return _first_answer(_DURING_A_RUN, seen, now, policy)
    if strangers := _never_members(seen):
        return SayDrained(strangers)
    if seen.given_up:
        return _first_answer(_GIVEN_UP, seen, now, policy) if seen.set_up_at else Rest()
    if seen.failure and seen.failures >= policy.max_attempts:
        return Abandon(seen.failure.reason, seen.failure.who_can_fix, seen.failure.run_id)
    return _first_answer(_KEEP_UP, seen, now, policy) if seen.set_up_at else _set_up(seen, now, policy)


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 2, 4, 8, … 60."""
    return float(min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2 ** max(0, failures - 1)))


def _first_answer(questions: tuple[Question, ...], seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """What is to be done now; else how long to wait for the first thing that is to be done."""
    waits = []
    for question in questions:
        step = question(seen, now, policy)
        if isinstance(step, Rest):
            waits.append(step.after)
        elif step is not None:
            return step
    return Rest(min((wait for wait in waits if wait is not None), default=None))


# --- before the cluster runs -----------------------------------------------------------------------------------------


def _set_up(seen: ClusterView, now: datetime, policy: Policy) -> Step:
    """Before site.yml has succeeded: name the first control plane, wait for its name and its peers, run."""
    control_planes = seen.live(Role.CONTROL_PLANE)
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
    others = [node for node in control_planes if node is not first]
    pushed = [node for node in seen.live(Role.WORKER) if not node.joins_by_itself]
    nodes = (first, *others, *seen.live(Role.ETCD), *pushed)
    return _after_backoff(seen, now, StartRun(Play.SITE, nodes, _join_version(seen)))


def _all_ready(seen: ClusterView, role: Role) -> bool:
    wanted = sum(node_set.count for node_set in seen.spec.node_sets() if node_set.role is role)
    return len(seen.live(role)) >= wanted


def _never_members(seen: ClusterView) -> tuple[NodeView, ...]:
    """Nodes that are to leave a cluster that never ran."""
    if seen.set_up_at is not None:
        return ()
    return tuple(node for node in seen.nodes if node.leaving and not node.gone and node.state is not M.DRAINED)


# --- while it runs: the questions ------------------------------------------------------------------------------------


def _tell(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    return troubles.untold(seen, policy) or removals.held(seen, now, policy) or windows.untold(seen, now, policy)


def _remove(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    leaving = removals.to_remove(seen)
    if not leaving:
        return None
    if nodes := removals.next_removal(seen, now):
        if chosen := manager(seen, nodes):
            return StartRun(Play.REMOVE_NODES, nodes, _join_version(seen), manager=chosen)
        if not any(node.state is M.JOINING for node in seen.live(Role.CONTROL_PLANE)):
            return SayDrained(leaving)  # no control plane is left that could know them
    waits = [troubles.wait_left(node, now) for node in leaving]
    return Rest(min((wait for wait in waits if wait), default=SLOW_POLL_S))


def _upgrade_core(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    return _upgrade(seen, now, policy, Role.ETCD, Role.CONTROL_PLANE)


def _upgrade_workers(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    return _upgrade(seen, now, policy, Role.WORKER)


def _upgrade(seen: ClusterView, now: datetime, policy: Policy, *roles: Role) -> Step | None:
    try:
        batch = upgrades.next_batch(seen, policy, *roles)
    except GapInVersions as gap:
        return Abandon(str(gap), WhoCanFix.OPERATOR)
    if batch is None:
        return None
    if wait := windows.upgrade_wait_s(seen, now):
        return Rest(wait)
    return _after_backoff(seen, now, replace(batch, manager=manager(seen, batch.nodes)))


def _ensure_tokens(seen: ClusterView, _now: datetime, _policy: Policy) -> Step | None:
    return EnsureTokens() if seen.set_up_at and seen.tokens_to_ensure and seen.endpoint_addresses else None


def _add(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    waiting = _to_join(seen)
    if not waiting or upgrades.is_halfway(seen):
        return None
    if wait := _wait_for_more(seen, waiting, now, policy):
        return Rest(wait)
    return _after_backoff(seen, now, StartRun(Play.ADD_NODES, waiting, _join_version(seen), manager(seen)))


def _add_beside_a_removal(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    """Draining workers may take long, and keeps nobody else from joining."""
    workers_drain = all(run.play is Play.REMOVE_NODES for run in seen.runs) and all(
        node.role is Role.WORKER for node in seen.nodes if node.state is M.DRAINING
    )
    if not workers_drain or seen.set_up_at is None or _is_over(seen, policy):
        return None
    return _add(seen, now, policy)


def _renew(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    node = upkeep.to_renew(seen, now, policy)
    if node is None:
        return None
    if wait := windows.renewal_wait_s(seen, node, now):
        return Rest(wait)
    return StartRun(Play.RENEW, (node,), _join_version(seen), manager=manager(seen, (node,)))


def _back_up(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    node = upkeep.to_back_up(seen, now, policy)
    return StartRun(Play.BACKUP, (node,), _join_version(seen), manager=node) if node else None


def _look(seen: ClusterView, now: datetime, policy: Policy) -> Step | None:
    outstanding = _outstanding(seen)
    late = [node for node in outstanding if _is_late(seen, node, now, policy)]
    if late:
        return Abandon(_late_sentence(late, seen.spec.version, policy), WhoCanFix.OPERATOR)
    waits = windows.is_held(seen, now, policy) and all(node.state is M.JOINED for node in outstanding)
    return _look_at(seen, SLOW_POLL_S if waits else policy.poll_s) if outstanding else None


def _look_while_waiting(seen: ClusterView, _now: datetime, policy: Policy) -> Step | None:
    return _look_at(seen, policy.poll_s) if _outstanding(seen) else None


def _look_slowly(seen: ClusterView, _now: datetime, _policy: Policy) -> Step | None:
    return _look_at(seen, SLOW_POLL_S) if _outstanding(seen) else None


def _look_at(seen: ClusterView, then: float) -> Step | None:
    may_answer = seen.endpoint_addresses and seen.first_node is not None
    return LookAtMembers(then) if may_answer else None


def _say_done(seen: ClusterView, _now: datetime, _policy: Policy) -> Step | None:
    if seen.set_up_at and seen.done_generation < seen.generation <= seen.complete_generation and _is_whole(seen):
        return SayDone(sum(node.live for node in seen.nodes))
    return None


_KEEP_UP: tuple[Question, ...] = (
    _tell,
    _remove,
    _upgrade_core,  # may mend a kube-apiserver, so it waits for nothing that needs one
    _ensure_tokens,
    _add,  # capacity first: a roll-out over many workers takes hours
    _upgrade_workers,
    _renew,
    _back_up,
    _say_done,
    _look,
)
_GIVEN_UP: tuple[Question, ...] = (_tell, _remove, _renew, _back_up, _look_slowly)
"""Nothing new is tried until a person has looked; but what is to go goes, and certificates are kept valid."""
_DURING_A_RUN: tuple[Question, ...] = (_ensure_tokens, _add_beside_a_removal, _look_while_waiting)
_PAUSED: tuple[Question, ...] = (_say_done, _look_slowly)


# --- what they are answered from -------------------------------------------------------------------------------------


def _join_version(seen: ClusterView) -> str:
    return upgrades.join_version(seen.nodes, seen.spec.version)


def _to_join(seen: ClusterView) -> tuple[NodeView, ...]:
    """Nodes that Ansible has to join. Members of etcd that only came later go one by one: its quorum follows them."""
    waiting = [
        node
        for node in seen.nodes
        if node.live and not node.joins_by_itself and (node.state is M.WAITING or _joined_in_part(node))
    ]
    etcd = [node for node in waiting if node.role is Role.ETCD]
    return (etcd[0],) if etcd else tuple(waiting)


def _joined_in_part(node: NodeView) -> bool:
    """A control plane is listed before its etcd member and its kube-apiserver are there; a worker when all is done."""
    return node.role is Role.CONTROL_PLANE and node.state is M.JOINED and node.unfinished in (Play.SITE, Play.ADD_NODES)


def _grace_left(nodes: list[NodeView] | tuple[NodeView, ...], now: datetime, policy: Policy) -> float:
    """Seconds until the newest of the nodes has waited long enough for the others."""
    newest = max(node.ready_at for node in nodes if node.ready_at)
    return max(0.0, policy.grace_s - (now - newest).total_seconds())


def _wait_for_more(seen: ClusterView, waiting: tuple[NodeView, ...], now: datetime, policy: Policy) -> float:
    return 0.0 if seen.complete_generation >= seen.generation else _grace_left(waiting, now, policy)


def _after_backoff(seen: ClusterView, now: datetime, run: StartRun) -> Step:
    if seen.failures and seen.failure:
        due = seen.failure.at + timedelta(seconds=backoff_s(seen.failures))
        if (wait := (due - now).total_seconds()) > 0:
            return Rest(wait)
    return run


def _is_over(seen: ClusterView, policy: Policy) -> bool:
    return seen.given_up or seen.failures >= policy.max_attempts


def _outstanding(seen: ClusterView) -> list[NodeView]:
    """Nodes that the kube-apiserver has yet to list with the wanted version."""
    return [
        node
        for node in seen.nodes
        if node.live and node.role is not Role.ETCD and (node.state is not M.JOINED or _tells_less(seen, node))
    ]


def _tells_less(seen: ClusterView, node: NodeView) -> bool:
    return node.version is None or version_key(node.version) < version_key(seen.spec.version)


def _is_late(seen: ClusterView, node: NodeView, now: datetime, policy: Policy) -> bool:
    """It has had its time. A node whose join or upgrade is still ours to start is not late."""
    if node.state is M.WAITING or (node.state is M.JOINED and upgrades.is_behind(node, seen.spec.version)):
        return False
    moments = (node.ready_at, seen.set_up_at, seen.patience_from, node.renewed_at)
    began = max(moment for moment in moments if moment is not None)
    return (now - began).total_seconds() > policy.join_deadline_s


def _late_sentence(late: list[NodeView], version: str, policy: Policy) -> str:
    names = ", ".join(node.name for node in late[:3]) + (f" and {len(late) - 3} more" if len(late) > 3 else "")
    if all(node.state is M.JOINED for node in late):
        do = "does" if len(late) == 1 else "do"
        return f"{names} still {do} not run {version} {policy.join_deadline_s:.0f} s after the upgrade"
    return f"{names} did not join within {policy.join_deadline_s:.0f} s of their machines being ready"


def _is_whole(seen: ClusterView) -> bool:
    """Every set has exactly its wanted nodes, all of them have joined and run the wanted version, and none is to leave.

    What was told of a drain that is held up would be lifted by saying that all is done.
    """
    live = [node for node in seen.nodes if node.live]
    counts = Counter(node.node_set for node in live)
    wanted = {node_set.name: node_set.count for node_set in seen.spec.node_sets() if node_set.count}
    return (
        counts == wanted
        and all(node.state is M.JOINED for node in live)
        and not any(upgrades.is_behind(node, seen.spec.version) or _joined_in_part(node) for node in live)
        and not _outstanding(seen)
        and not removals.to_remove(seen)
    )
