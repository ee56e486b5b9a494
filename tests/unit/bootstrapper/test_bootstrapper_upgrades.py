"""Which nodes are upgraded next, and what new ones install meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from caravan_bootstrapper.steps import Abandon, LookAtMembers, Policy, Rest, SayDone, StartRun
from caravan_bootstrapper.upgrades import join_version
from caravan_bootstrapper.views import ClusterView, Failure, NodeView, Play
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role, Topology
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.states import Verdict
from tests.unit.bootstrapper.clusters import (
    NOW,
    POLICY,
    V,
    control_plane,
    etcd,
    joined,
    next_step,
    node,
    spec,
    up,
)

OLD = "1.33.6"


def at(one: NodeView, version: str, **more: Any) -> NodeView:
    """A member of that version."""
    return joined(one, version=version, **more)


def upgraded(one: NodeView, version: str = V) -> NodeView:
    """A member that an upgrade run has brought to the version."""
    return replace(one, version=version, upgraded_to=version)


def ha(*workers: NodeView, control_planes: tuple[str, str, str] = (OLD, OLD, OLD), **more: Any) -> ClusterView:
    """Three control planes of these versions, and the workers."""
    nodes = [at(control_plane(number), version) for number, version in enumerate(control_planes, 1)]
    return up(*nodes, *workers, spec=spec(3, len(workers)), **more)


def batch(seen: ClusterView, policy: Policy = POLICY) -> StartRun:
    step = next_step(seen, policy=policy)
    assert isinstance(step, StartRun), step
    assert step.play is Play.UPGRADE
    return step


def names(step: StartRun) -> list[str]:
    return [one.name for one in step.nodes]


def test_control_planes_go_one_a_run_and_the_first_takes_the_configuration_along() -> None:
    first = batch(ha(at(node("w-4"), OLD)))
    assert (names(first), first.version, first.upgrade_first) == (["cp-1"], V, True)
    second = batch(ha(at(node("w-4"), OLD), control_planes=(V, OLD, OLD)))
    assert (names(second), second.upgrade_first) == (["cp-2"], False)


def test_first_is_whichever_is_left_when_the_one_begun_with_is_gone() -> None:
    seen = ha()
    begun = replace(seen.nodes[0], unfinished=Play.UPGRADE)
    assert batch(replace(seen, nodes=(begun, *seen.nodes[1:]))).upgrade_first
    gone = replace(seen, nodes=(replace(begun, gone=True, state=M.DRAINED), *seen.nodes[1:]))
    step = batch(gone)
    assert (names(step), step.upgrade_first) == (["cp-2"], True)


def test_another_control_plane_commands_about_the_one_that_is_upgraded() -> None:
    step = batch(ha())
    assert step.manager
    assert step.manager.name == "cp-2"


def test_external_etcd_goes_before_the_control_planes() -> None:
    members = [at(etcd(number), OLD) for number in (1, 2, 3)]
    seen = up(at(control_plane(), OLD), *members, spec=spec(1, 0, topology=Topology.EXTERNAL))
    assert names(batch(seen)) == ["e-1"]
    done = [upgraded(member) for member in members]
    assert names(batch(replace(seen, nodes=(seen.nodes[0], *done)))) == ["cp-1"]


def test_workers_go_some_at_a_time_after_all_control_planes() -> None:
    workers = [at(node(f"w-{number}"), OLD) for number in range(4, 9)]
    seen = ha(*workers, control_planes=(V, V, V))
    step = batch(seen, replace(POLICY, upgrades_in_flight=2, upgrades_share=1.0))
    assert names(step) == ["w-4", "w-5"]
    assert not step.upgrade_first
    assert step.note == "3 of 8 nodes upgraded to 1.34.2"


@pytest.mark.parametrize(("workers", "at_a_time"), [(1, 1), (2, 1), (19, 1), (20, 2), (50, 5), (999, 10)])
def test_workers_that_stay_are_enough_for_the_pods_of_those_that_are_drained(workers: int, at_a_time: int) -> None:
    seen = ha(*(at(node(f"w-{number}"), OLD) for number in range(workers)), control_planes=(V, V, V))
    assert len(names(batch(seen))) == at_a_time


def test_unfinished_nodes_come_first_and_seemingly_dead_ones_last() -> None:
    workers = (
        at(node("w-4"), OLD, verdict=Verdict.UNREACHABLE),
        at(node("w-5"), OLD),
        at(node("w-6"), V, unfinished=Play.UPGRADE),
    )
    seen = ha(*workers, control_planes=(V, V, V))
    assert names(batch(seen, replace(POLICY, upgrades_share=1.0))) == ["w-6", "w-5", "w-4"]


def test_kubelet_that_tells_the_new_version_is_not_enough_while_its_run_did_not_finish() -> None:
    seen = ha(at(node("w-4"), V, unfinished=Play.UPGRADE), control_planes=(V, V, V))
    assert names(batch(seen)) == ["w-4"]
    mended = replace(seen, nodes=(*seen.nodes[:3], replace(seen.nodes[3], unfinished=None, upgraded_to=V)))
    assert next_step(mended) == SayDone(4)


def test_every_node_completes_a_hop_before_the_next_begins() -> None:
    workers = (at(node("w-4"), "1.32.9"), at(node("w-5"), "1.32.9"))
    seen = ha(*workers, control_planes=("1.32.9", "1.32.9", "1.32.9"))
    assert batch(seen).version == OLD
    half = ha(*workers, control_planes=(OLD, OLD, OLD))
    assert (batch(half).version, names(batch(half))) == (OLD, ["w-4"])
    whole = ha(*(upgraded(worker, OLD) for worker in workers), control_planes=(OLD, OLD, OLD))
    assert (batch(whole).version, names(batch(whole))) == (V, ["cp-1"])


def test_minor_that_is_not_offered_is_told_at_once() -> None:
    seen = ha(control_planes=("1.31.1", "1.31.1", "1.31.1"))
    step = next_step(seen, policy=replace(POLICY, offered=("1.34.2", "1.33.6")))
    assert step == Abandon(
        "no 1.32 version is offered, and the way from 1.31.1 to 1.34.2 leads through one", WhoCanFix.OPERATOR
    )


def test_leaving_control_plane_that_still_serves_keeps_workers_at_its_version() -> None:
    leaving = at(control_plane(3), OLD, leaving=True, failures=1, failed_at=NOW, failure="cp-3 was not drained within")
    seen = up(
        at(control_plane(1), V), at(control_plane(2), V), replace(leaving, told=leaving.failure), at(node("w-4"), OLD)
    )
    assert isinstance(next_step(seen), Rest | LookAtMembers)
    assert join_version(seen.nodes, V) == OLD


@pytest.mark.parametrize(
    ("versions", "expected"),
    [((OLD, OLD, OLD), OLD), ((V, OLD, OLD), OLD), ((V, V, V), V)],
)
def test_new_nodes_install_what_every_control_plane_runs(versions: tuple[str, str, str], expected: str) -> None:
    assert join_version(ha(control_planes=versions).nodes, V) == expected


def test_new_nodes_of_a_cluster_that_does_not_run_yet_install_the_wanted_version() -> None:
    assert join_version([control_plane()], V) == V


def test_nobody_joins_while_control_planes_are_of_two_versions() -> None:
    failure = Failure(NOW, "cp-2: failed to ensure it", WhoCanFix.OPERATOR)
    seen = ha(node("w-4"), control_planes=(V, OLD, OLD), failures=1, failure=failure)
    assert next_step(seen) == Rest(2.0) or isinstance(next_step(seen), LookAtMembers)
    uniform = ha(node("w-4"), at(node("w-5"), OLD), control_planes=(V, V, V))
    step = next_step(uniform)
    assert isinstance(step, StartRun)
    assert (step.play, names(step), step.version) == (Play.ADD_NODES, ["w-4"], V)


def test_repeated_site_keeps_the_version_that_its_control_plane_has_got_to() -> None:
    seen = up(at(control_plane(), OLD), node("w-2"), set_up_at=None)
    step = next_step(seen)
    assert isinstance(step, StartRun)
    assert (step.play, step.version) == (Play.SITE, OLD)


def test_failed_batch_is_tried_again_alone_and_then_stops_the_roll_out() -> None:
    workers = (at(node("w-4"), OLD, unfinished=Play.UPGRADE), at(node("w-5"), OLD))
    failure = Failure(NOW, "w-4: failed to ensure the node is drained: no", WhoCanFix.OPERATOR)
    seen = ha(*workers, control_planes=(V, V, V), failures=1, failure=failure)
    one = replace(POLICY, upgrades_in_flight=1)
    step = next_step(seen, NOW + timedelta(seconds=2), one)
    assert isinstance(step, StartRun)
    assert names(step) == ["w-4"]
    gave_up = next_step(replace(seen, failures=5), NOW + timedelta(seconds=2), one)
    assert gave_up == Abandon(failure.reason, WhoCanFix.OPERATOR)
    assert isinstance(next_step(replace(seen, failures=5, given_up=True)), LookAtMembers)


def test_long_roll_out_makes_no_node_late() -> None:
    long_ago = NOW - timedelta(hours=3)
    last = at(node("w-4"), OLD, upgraded_to=V, ready_at=long_ago, renewed_at=NOW)
    seen = ha(last, control_planes=(V, V, V), set_up_at=long_ago)
    assert next_step(seen) == LookAtMembers(POLICY.poll_s)
    step = next_step(seen, NOW + timedelta(seconds=POLICY.join_deadline_s + 1))
    assert isinstance(step, Abandon)
    assert step.reason == "w-4 still does not run 1.34.2 900 s after the upgrade"


def test_newer_kubelet_than_wanted_is_left_alone() -> None:
    seen = up(at(control_plane(), "1.34.3"), at(node("w-2"), "1.34.3"), spec=spec(1, 1))
    assert next_step(seen) == SayDone(2)


def test_roles_are_upgraded_in_kubernetes_own_order() -> None:
    roles = (Role.ETCD, Role.CONTROL_PLANE, Role.WORKER)
    mixed = [at(etcd(1), OLD), at(control_plane(1), OLD), at(node("w-1"), OLD)]
    order = []
    for _ in roles:
        step = batch(up(*mixed, spec=spec(1, 1, topology=Topology.EXTERNAL, etcd={"count": 1})))
        order.append(step.nodes[0].role)
        mixed = [upgraded(one) if one.name == step.nodes[0].name else one for one in mixed]
    assert tuple(order) == roles
