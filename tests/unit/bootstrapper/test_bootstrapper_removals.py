"""Which nodes leave next, who is asked to let them go, and what is said when one can't."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from caravan_bootstrapper.decide import SLOW_POLL_S
from caravan_bootstrapper.removals import may_leave
from caravan_bootstrapper.steps import Rest, SayDone, SayDrained, StartRun, Tell
from caravan_bootstrapper.views import ClusterView, NodeView, Play, RunView
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Topology
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.states import Verdict
from tests.unit.bootstrapper.clusters import NOW, POLICY, RUN, V, control_plane, etcd, joined, next_step, node, spec, up

BLOCKED = (
    "w-2: failed to ensure the cluster has let go of the node: w-2 was not drained within 300 s. PodDisruptionBudget "
    "default/web (needs 2 healthy pods, has 2) keeps default/web-1. Set drain.force: true in the cluster's spec."
)
DEAD = {"verdict": Verdict.UNREACHABLE, "verdict_since": NOW - timedelta(hours=1)}


def member(number: int, **more: Any) -> NodeView:
    return joined(control_plane(number), **more)


def removal(seen: ClusterView) -> StartRun:
    step = next_step(seen)
    assert isinstance(step, StartRun), step
    assert step.play is Play.REMOVE_NODES
    return step


def names(step: StartRun) -> list[str]:
    return [one.name for one in step.nodes]


@pytest.mark.parametrize(
    ("leaving", "others", "allowed"),
    [
        ({}, [{}, {}], True),
        ({}, [{}, DEAD], False),
        ({}, [{}, {"verdict": Verdict.DEGRADED}], False),
        ({}, [{}, {"state": M.WAITING}], False),
        ({}, [{}, {"state": M.JOINING}], False),
        ({}, [], False),
        (DEAD, [{}, {}], True),
        (DEAD, [{}, {}, {"state": M.WAITING}], True),
        ({"gone": True}, [{}, {}, DEAD, {}], True),
        (DEAD, [{}, DEAD], False),
        (DEAD, [{}], False),
        ({"state": M.JOINING}, [{}, DEAD], True),
    ],
    ids=[
        "all others are well",
        "one is dead",
        "one is not Ready",
        "its successor has to join first",
        "its successor is joining",
        "it is the last",
        "dead, and the others are well",
        "dead, before its successor joins",
        "gone, and three of five are well",
        "dead, and half of the members can't agree",
        "dead, one of two",
        "no member yet",
    ],
)
def test_control_plane_leaves_a_stacked_cluster_only_while_etcd_outlives_it(
    leaving: dict[str, Any], others: list[dict[str, Any]], allowed: bool
) -> None:
    going = member(9, leaving=True, **leaving)
    rest = [member(number, **other) for number, other in enumerate(others, 1)]
    assert may_leave(up(going, *rest, spec=spec(3)), going) is allowed


def test_control_plane_of_an_external_etcd_leaves_while_another_is_well() -> None:
    wanted = spec(2, topology=Topology.EXTERNAL)
    going = member(2, leaving=True)
    assert may_leave(up(going, member(1), member(3, **DEAD), spec=wanted), going)
    assert not may_leave(up(going, member(3, **DEAD), spec=wanted), going)


def test_members_of_etcd_leave_one_at_a_time_dead_ones_first() -> None:
    seen = up(member(1, leaving=True), member(2, leaving=True, **DEAD), member(3), member(4), spec=spec(1))
    assert names(removal(seen)) == ["cp-2"]
    members = [joined(etcd(number), leaving=number > 1) for number in (1, 2, 3)]
    assert names(removal(up(member(1), *members, spec=spec(topology=Topology.EXTERNAL)))) == ["e-2"]


def test_workers_leave_together_even_dead_ones() -> None:
    seen = up(member(1), joined(node("w-2"), leaving=True), joined(node("w-3"), leaving=True, **DEAD))
    assert names(removal(seen)) == ["w-2", "w-3"]


@pytest.mark.parametrize(("gone", "verdict"), [(True, Verdict.HEALTHY), (False, Verdict.UNREACHABLE)])
def test_node_without_a_machine_that_answers_is_dead(gone: bool, verdict: Verdict) -> None:
    assert node("w-2", gone=gone, verdict=verdict).dead
    assert not node("w-2", verdict=Verdict.DEGRADED).dead


def test_manager_is_one_that_stays_is_well_and_was_not_in_charge_when_a_run_failed() -> None:
    leaving = joined(node("w-9"), leaving=True)
    seen = up(member(1), member(2), member(3), leaving, spec=spec(3))

    def manager(*nodes: NodeView) -> str:
        chosen = removal(replace(seen, nodes=(*nodes, leaving))).manager
        assert chosen
        return chosen.name

    assert manager(member(1), member(2), member(3)) == "cp-1"
    assert manager(member(1, blamed_at=NOW), member(2), member(3)) == "cp-2"
    assert manager(member(1, blamed_at=NOW), member(2, blamed_at=NOW - timedelta(seconds=9)), member(3, **DEAD)) == (
        "cp-2"
    )
    assert manager(member(1, **DEAD), member(2, verdict=Verdict.DEGRADED), member(3)) == "cp-3"


def test_blocked_drain_is_told_once_with_what_helps_and_whose_it_is() -> None:
    blocked = joined(node("w-2"), leaving=True, failures=1, failed_at=NOW, failure=BLOCKED)
    seen = up(member(1), blocked, joined(node("w-3")), joined(node("w-4")))
    assert next_step(seen) == Tell(blocked, BLOCKED, WhoCanFix.USER)
    told = replace(seen, nodes=(member(1), replace(blocked, told=BLOCKED), joined(node("w-3")), joined(node("w-4"))))
    assert next_step(told) == Rest(60.0), "done would lift what was told"
    left = replace(blocked, state=M.DRAINED, told=None, failure=None, failures=0, failed_at=None)
    assert isinstance(next_step(replace(told, nodes=(*told.nodes[:1], left, *told.nodes[2:]))), SayDone)


def test_blocked_drain_keeps_neither_other_nodes_from_leaving_nor_new_ones_from_joining() -> None:
    blocked = joined(node("w-2"), leaving=True, failures=1, failed_at=NOW, failure=BLOCKED, told=BLOCKED)
    seen = up(member(1), blocked, joined(node("w-3"), leaving=True))
    assert names(removal(seen)) == ["w-3"]
    adding = next_step(up(member(1), blocked, node("w-4")))
    assert isinstance(adding, StartRun)
    assert adding.play is Play.ADD_NODES


def test_new_nodes_join_while_workers_are_being_drained() -> None:
    draining = joined(node("w-2"), leaving=True, state=M.DRAINING)
    run = RunView(RUN, Play.REMOVE_NODES, alive=True)
    step = next_step(up(member(1), draining, node("w-4"), runs=(run,)))
    assert isinstance(step, StartRun)
    assert (step.play, names(step)) == (Play.ADD_NODES, ["w-4"])
    core = joined(control_plane(2), leaving=True, state=M.DRAINING)
    assert not isinstance(next_step(up(member(1), core, node("w-4"), runs=(run,))), StartRun)
    adding = RunView(RUN, Play.ADD_NODES, alive=True)
    assert not isinstance(next_step(up(member(1), draining, node("w-4"), runs=(run, adding))), StartRun)


@pytest.mark.parametrize(
    ("failures", "failure", "wait"),
    [(1, "no", 2), (2, "no", 4), (3, "no", 8), (50, "no", 600), (1, BLOCKED, 60), (2, BLOCKED, 120), (9, BLOCKED, 600)],
)
def test_failing_removal_is_tried_again_slower_and_slower_for_ever(failures: int, failure: str, wait: int) -> None:
    failing = joined(node("w-2"), leaving=True, failures=failures, failed_at=NOW, failure=failure, told=failure)
    seen = up(member(1), failing, done_generation=1)
    assert next_step(seen) == Rest(float(wait))
    later = NOW + timedelta(seconds=wait)
    assert isinstance(next_step(seen, later), StartRun)
    assert isinstance(next_step(replace(seen, given_up=True), later), StartRun)


def test_other_failures_are_told_when_they_last() -> None:
    failing = joined(node("w-2"), leaving=True, failures=4, failed_at=NOW, failure="w-2 cannot be reached: no")
    assert not isinstance(next_step(up(member(1), failing)), Tell)
    lasting = replace(failing, failures=POLICY.max_attempts)
    assert next_step(up(member(1), lasting)) == Tell(lasting, "w-2 cannot be reached: no", WhoCanFix.OPERATOR)


def test_why_a_control_plane_must_stay_is_told_once_the_reason_has_lasted() -> None:
    seen = up(member(1, leaving=True), member(2), member(3, **DEAD), spec=spec(3), done_generation=1)
    step = next_step(seen)
    assert isinstance(step, Tell)
    assert step.reason == (
        "cp-1 can't leave yet: cp-3 is not well, and the cluster could lose its etcd; mend or replace what is not well "
        "first"
    )
    told = replace(seen, nodes=(replace(step.node, told=step.reason), *seen.nodes[1:]))
    assert next_step(told) == Rest(SLOW_POLL_S)
    young = member(3, verdict=Verdict.DEGRADED, verdict_since=NOW - timedelta(seconds=20))
    assert next_step(replace(seen, nodes=(*seen.nodes[:2], young))) == Rest(SLOW_POLL_S)


def test_cluster_without_any_control_plane_lets_its_nodes_go_at_once() -> None:
    lost = member(1, gone=True)
    leaving = joined(node("w-2"), leaving=True)
    assert next_step(up(lost, leaving)) == SayDrained((lost, leaving))


def test_cluster_whose_control_plane_is_about_to_be_listed_waits_for_it() -> None:
    leaving = joined(node("w-2"), leaving=True)
    assert not isinstance(next_step(up(control_plane(state=M.JOINING), leaving)), SayDrained)


def test_removal_names_the_version_that_the_cluster_runs() -> None:
    assert removal(up(member(1), joined(node("w-2"), leaving=True))).version == V
