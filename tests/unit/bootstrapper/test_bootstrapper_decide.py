"""What a cluster needs next, by what is known of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_bootstrapper.decide import backoff_s
from caravan_bootstrapper.steps import (
    Abandon,
    CancelRuns,
    EnsureTokens,
    LookAtMembers,
    MarkInterrupted,
    NameFirst,
    Rest,
    SayAgain,
    SayDone,
    SayDrained,
    StartRun,
)
from caravan_bootstrapper.views import ClusterView, Failure, Play, RunView
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role, Topology
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.states import Verdict
from tests.unit.bootstrapper.clusters import (
    NOW,
    POLICY,
    RUN,
    V,
    cluster,
    control_plane,
    joined,
    next_step,
    node,
    running,
    spec,
)


def test_without_a_control_plane_there_is_nothing_to_do() -> None:
    assert next_step(cluster(node("w-2"))) == Rest()


def test_first_ready_control_plane_is_named_before_the_others_are_there() -> None:
    first = control_plane(1)
    assert next_step(cluster(first, spec=spec(3))) == NameFirst(first)


def test_site_waits_until_the_endpoint_leads_to_the_first_control_plane() -> None:
    seen = cluster(control_plane(), first_node="cp-1")
    assert next_step(seen) == Rest()
    step = next_step(replace(seen, endpoint_addresses=("10.0.0.1",)))
    assert step == StartRun(Play.SITE, (control_plane(),), V)


def test_site_runs_on_control_planes_etcd_and_pushed_workers_only() -> None:
    nodes = (
        control_plane(2),
        control_plane(1),
        node("e-3", Role.ETCD),
        node("w-4"),
        node("w-5", joins_by_itself=True),
    )
    wanted = spec(2, topology=Topology.EXTERNAL, etcd={"count": 1})
    step = next_step(cluster(*nodes, spec=wanted, first_node="cp-1", endpoint_addresses=("10.0.0.1",)))
    assert isinstance(step, StartRun)
    assert [one.name for one in step.nodes] == ["cp-1", "cp-2", "e-3", "w-4"]


def test_ready_control_planes_wait_a_grace_for_the_missing_ones() -> None:
    nodes = (control_plane(1), control_plane(2, ready_at=NOW - timedelta(seconds=1)))
    seen = cluster(*nodes, spec=spec(3), first_node="cp-1", endpoint_addresses=("10.0.0.1",))
    assert next_step(seen) == Rest(2.0)
    assert isinstance(next_step(seen, NOW + timedelta(seconds=2)), StartRun)


def test_external_etcd_starts_whole_or_not_at_all() -> None:
    wanted = spec(topology=Topology.EXTERNAL, etcd={"count": 3})
    nodes = (control_plane(), node("e-2", Role.ETCD), node("e-3", Role.ETCD))
    seen = cluster(*nodes, spec=wanted, first_node="cp-1", endpoint_addresses=("10.0.0.1",))
    assert next_step(seen) == Rest()


def test_lost_first_control_plane_is_replaced_before_the_cluster_runs() -> None:
    seen = cluster(control_plane(1, gone=True), control_plane(2), first_node="cp-1", spec=spec(1))
    assert next_step(seen) == NameFirst(control_plane(2))


def test_members_are_looked_for_while_the_run_is_at_work() -> None:
    seen = cluster(
        control_plane(state=M.JOINING),
        first_node="cp-1",
        endpoint_addresses=("10.0.0.1",),
        runs=(RunView(RUN, Play.SITE, alive=True),),
    )
    assert next_step(seen) == LookAtMembers(POLICY.poll_s)


def test_run_that_nobody_drives_is_marked_first() -> None:
    seen = cluster(control_plane(), runs=(RunView(RUN, Play.SITE, alive=False),), deletion_asked=True)
    assert next_step(seen) == MarkInterrupted((RUN,))


def test_deletion_ends_runs_and_starts_none() -> None:
    seen = cluster(control_plane(), deletion_asked=True, runs=(RunView(RUN, Play.SITE, alive=True),))
    assert next_step(seen) == CancelRuns((RUN,))
    assert next_step(replace(seen, runs=())) == Rest()


def test_higher_announcement_has_everything_said_again() -> None:
    assert next_step(cluster(announcement=2)) == SayAgain()


def test_pull_workers_are_looked_for_until_all_have_joined() -> None:
    seen = running(joined(node("w-2")), node("w-3", state=M.JOINING, joins_by_itself=True))
    assert next_step(seen) == LookAtMembers(POLICY.poll_s)


def test_whole_generation_is_told_once() -> None:
    seen = running(joined(node("w-2")), joined(node("w-3")))
    assert next_step(seen) == SayDone(3)
    assert next_step(replace(seen, done_generation=1)) == Rest()


@pytest.mark.parametrize(
    "seen",
    [
        running(joined(node("w-2"))),
        running(joined(node("w-2")), joined(node("w-3")), joined(node("w-4"))),
        running(joined(node("w-2")), joined(node("w-3")), complete_generation=0),
    ],
    ids=["one is missing", "one too many, its leaving is still to be heard", "not complete"],
)
def test_generation_that_is_not_whole_is_not_done(seen: ClusterView) -> None:
    assert next_step(seen) == Rest()


def test_new_pushed_nodes_are_added_together() -> None:
    seen = running(node("w-2"), node("w-3"))
    step = next_step(seen)
    assert isinstance(step, StartRun)
    assert step.play is Play.ADD_NODES
    assert [one.name for one in step.nodes] == ["w-2", "w-3"]


def test_new_tokens_are_told_to_the_cluster_before_nodes_join() -> None:
    assert next_step(running(node("w-2"), tokens_to_ensure=1)) == EnsureTokens()


def test_leaving_nodes_are_drained_by_a_run_whatever_we_believe_of_them() -> None:
    leaving = (joined(node("w-2"), leaving=True), node("w-3", state=M.JOINING, leaving=True))
    step = next_step(running(*leaving))
    assert step == StartRun(Play.REMOVE_NODES, leaving, V, joined(control_plane()))


def test_member_whose_machine_is_gone_is_removed_too() -> None:
    step = next_step(running(joined(node("w-2"), gone=True)))
    assert isinstance(step, StartRun)
    assert step.play is Play.REMOVE_NODES


def test_leaving_a_cluster_that_never_ran_needs_no_run() -> None:
    leaving = node("w-2", leaving=True)
    assert next_step(cluster(leaving)) == SayDrained((leaving,))


def test_nodes_join_before_workers_are_upgraded_and_after_control_planes() -> None:
    old = joined(node("w-2"), version="1.34.1")
    new = node("w-3")
    assert next_step(running(old, new)) == StartRun(Play.ADD_NODES, (new,), V, joined(control_plane()))
    behind = joined(control_plane(), version="1.34.1")
    seen = replace(running(old, new), nodes=(behind, old, new))
    step = next_step(seen)
    assert isinstance(step, StartRun)
    assert (step.play, step.nodes) == (Play.UPGRADE, (behind,))


def test_upgraded_members_are_looked_at_until_they_tell_the_version() -> None:
    old = joined(node("w-2"), version="1.34.1", upgraded_to=V)
    assert next_step(running(old, joined(node("w-3")))) == LookAtMembers(POLICY.poll_s)


def test_node_that_does_not_join_in_time_needs_a_person() -> None:
    seen = running(node("w-2", state=M.JOINING, joins_by_itself=True))
    step = next_step(seen, NOW + timedelta(seconds=POLICY.join_deadline_s))
    assert isinstance(step, Abandon)
    assert step.reason == "w-2 did not join within 900 s of their machines being ready"
    retried = replace(seen, patience_from=NOW + timedelta(seconds=POLICY.join_deadline_s - 1))
    assert isinstance(next_step(retried, NOW + timedelta(seconds=POLICY.join_deadline_s)), LookAtMembers)


def test_failed_run_is_tried_again_later_and_later_and_then_given_up() -> None:
    failure = Failure(NOW, "port 6443 is in use", WhoCanFix.OPERATOR, RUN)
    seen = cluster(control_plane(), first_node="cp-1", endpoint_addresses=("10.0.0.1",), failure=failure)
    assert next_step(replace(seen, failures=1)) == Rest(2.0)
    assert next_step(replace(seen, failures=2)) == Rest(4.0)
    assert isinstance(next_step(replace(seen, failures=2), NOW + timedelta(seconds=4)), StartRun)
    step = next_step(replace(seen, failures=POLICY.max_attempts))
    assert step == Abandon("port 6443 is in use", WhoCanFix.OPERATOR, RUN)
    assert next_step(replace(seen, failures=POLICY.max_attempts, given_up=True)) == Rest()


def test_backoff_doubles_up_to_a_minute() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 4, 5, 6, 50)] == [2, 4, 8, 16, 32, 60, 60]


nodes = st.builds(
    node,
    st.sampled_from([f"n-{n}" for n in range(9)]),
    st.sampled_from(list(Role)),
    state=st.sampled_from(list(M)),
    leaving=st.booleans(),
    gone=st.booleans(),
    joins_by_itself=st.booleans(),
    version=st.sampled_from([None, V, "1.34.1"]),
    upgraded_to=st.sampled_from([None, V]),
    unfinished=st.sampled_from([None, Play.ADD_NODES, Play.UPGRADE]),
    verdict=st.sampled_from(list(Verdict)),
    failures=st.integers(0, 6),
    failed_at=st.sampled_from([None, NOW]),
    failure=st.sampled_from([None, "disk full", "w-1 was not drained within 300 s."]),
    ready_at=st.sampled_from([None, NOW, NOW - timedelta(seconds=60), NOW - timedelta(hours=1)]),
)
views = st.builds(
    lambda nodes, **more: cluster(*nodes, **more),
    spec=st.sampled_from([spec(1), spec(3, 0), spec(topology=Topology.EXTERNAL), spec(paused=True)]),
    nodes=st.lists(nodes, max_size=6, unique_by=lambda one: one.name).map(tuple),
    first_node=st.sampled_from([None, "n-0", "n-1"]),
    set_up_at=st.sampled_from([None, NOW - timedelta(seconds=30)]),
    endpoint_addresses=st.sampled_from([(), ("10.0.0.0", "10.0.0.1")]),
    failures=st.integers(0, 6),
    failure=st.sampled_from([None, Failure(NOW, "no", WhoCanFix.OPERATOR)]),
    given_up=st.booleans(),
    deletion_asked=st.booleans(),
    runs=st.sampled_from(
        [
            (),
            *((RunView(RUN, play, alive=True),) for play in (Play.SITE, Play.REMOVE_NODES)),
            (RunView(RUN, Play.SITE, alive=False),),
        ]
    ),
    tokens_to_ensure=st.integers(0, 1),
)


@settings(max_examples=100)
@given(seen=views)
def test_a_step_is_always_allowed_by_what_is_seen(seen: ClusterView) -> None:
    step = next_step(seen)
    if isinstance(step, StartRun):
        assert not seen.deletion_asked
        assert not seen.spec.paused
        assert not seen.runs or step.play is Play.ADD_NODES
        assert not seen.given_up or step.play in (Play.REMOVE_NODES, Play.RENEW, Play.BACKUP)
        assert step.nodes
        if step.play is not Play.REMOVE_NODES:
            assert all(one.live for one in step.nodes)
        assert step.version
        if step.play is not Play.SITE:
            assert step.manager is None or step.manager.state is M.JOINED
    if isinstance(step, SayDone):
        assert all(one.state is M.JOINED for one in seen.nodes if one.live)
    if isinstance(step, Rest) and step.after is not None:
        assert step.after > 0
