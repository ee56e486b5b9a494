"""The verdict on a cluster: what one look, several looks and looks of an unfit monitor lead to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_health.observation import MISSES, Kind, NodeReading, Observation
from caravan_health.verdict import (
    Belief,
    Elsewhere,
    NodeBelief,
    NodesSummary,
    Policy,
    SecondLook,
    judge,
    judge_nodes,
    next_look_s,
    nodes_out_of_sight,
    nodes_put_to_sleep,
    put_to_sleep,
    summarise,
    unasked,
)
from caravan_shared.contracts.states import Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy()
ALL_WELL = NodesSummary(3, 3)
OK = Observation(Kind.OK)
REFUSED = Observation(Kind.REFUSED, "refuses the connection")
VOID = Observation(Kind.MONITOR_UNFIT, "its event loop ran late")
ETCD = Observation(Kind.COMPONENT_NOT_READY, "answers 500", ("etcd",))

kinds = st.sampled_from(Kind)
looks = st.builds(lambda kind: Observation(kind, str(kind), ("etcd",)), kinds)
verdicts = st.sampled_from(Verdict)


def believing(verdict: Verdict) -> Belief:
    return replace(unasked(START), verdict=verdict, reason="as before")


def after(belief: Belief, *seen: Observation, nodes: NodesSummary | None = ALL_WELL, every_s: float = 1.0) -> Belief:
    now = START
    for look in seen:
        now += timedelta(seconds=every_s)
        belief = judge(belief, look, nodes, now, POLICY)
    return belief


def test_first_answer_makes_cluster_healthy() -> None:
    belief = after(unasked(START), OK)
    assert (belief.verdict, belief.reason) == (Verdict.HEALTHY, "ready, 3 of 3 nodes ready")
    assert (belief.nodes_ready, belief.nodes_seen) == (3, 3)


def test_sleeping_cluster_is_unknown_and_not_unreachable() -> None:
    belief = put_to_sleep(believing(Verdict.HEALTHY), START)
    assert (belief.verdict, belief.reason) == (Verdict.UNKNOWN, "asleep: its machines are stopped on purpose")
    nodes = nodes_put_to_sleep({"n1": NodeBelief(Verdict.HEALTHY, "ready", START)}, START)
    assert nodes["n1"].verdict is Verdict.UNKNOWN


def test_silence_of_a_cluster_that_was_just_woken_is_no_outage() -> None:
    belief = put_to_sleep(believing(Verdict.HEALTHY), START)
    for _ in range(5):
        belief = judge(belief, REFUSED, None, START, POLICY, waking=True)
    assert (belief.verdict, belief.reason) == (Verdict.UNKNOWN, "waking: it does not answer yet")
    assert next_look_s(belief, POLICY, waking=True) == POLICY.recheck_s
    assert judge(belief, OK, ALL_WELL, START, POLICY, waking=True).verdict is Verdict.HEALTHY
    assert after(belief, REFUSED, REFUSED, REFUSED).verdict is Verdict.UNREACHABLE


def test_silent_virtual_ip_degrades_a_cluster_that_answers_otherwise() -> None:
    silent = Observation(Kind.OK, "nobody answers at its virtual IP 10.0.0.250: timed out")
    assert after(believing(Verdict.HEALTHY), silent).verdict is Verdict.HEALTHY
    belief = after(believing(Verdict.HEALTHY), silent, silent)
    assert belief.verdict is Verdict.DEGRADED
    assert belief.reason == f"ready, 3 of 3 nodes ready, but {silent.detail}"
    assert after(belief, OK, OK).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("kind", sorted(MISSES))
def test_third_missed_look_marks_cluster_unreachable(kind: Kind) -> None:
    miss = Observation(kind, "no answer")
    assert after(believing(Verdict.HEALTHY), miss, miss).verdict is Verdict.HEALTHY
    belief = after(believing(Verdict.HEALTHY), miss, miss, miss)
    assert (belief.verdict, belief.reason) == (Verdict.UNREACHABLE, "no answer")
    assert belief.since == START + timedelta(seconds=3)


def missing(belief: Belief, *elsewhere: Elsewhere, every_s: float = 1.0) -> Belief:
    """After one miss more for each of what was known from elsewhere at the time."""
    for number, known in enumerate(elsewhere, 1):
        now = START + timedelta(seconds=number * every_s)
        belief = judge(belief, REFUSED, ALL_WELL, now, POLICY, elsewhere=known)
    return belief


ASKED = Elsewhere().is_asked()
SEEN = ASKED.said(SecondLook("one", "two", answers=True), START + timedelta(seconds=1.5))
SILENT = ASKED.said(SecondLook("one", "two", answers=False), START + timedelta(seconds=1.5))
NO_WORD = ASKED.said(None, START + timedelta(seconds=1.5))


def test_cluster_that_answers_another_replica_is_unknown_and_says_who_sees_it_and_who_does_not() -> None:
    belief = missing(believing(Verdict.HEALTHY), ASKED, SEEN, SEEN, SEEN)
    assert belief.verdict is Verdict.UNKNOWN
    assert belief.reason == (
        "it answers health's replica two, but not its replica one: refuses the connection; "
        "the network of one is probably at fault"
    )
    assert next_look_s(belief, POLICY) == POLICY.probe_every_s


def test_cluster_that_is_seen_elsewhere_keeps_its_verdict_through_a_hiccup_here() -> None:
    belief = missing(believing(Verdict.HEALTHY), ASKED, SEEN, SEEN)
    assert after(belief, OK).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("known", [SILENT, NO_WORD, Elsewhere()])
def test_third_miss_decides_where_nobody_else_sees_the_cluster(known: Elsewhere) -> None:
    belief = missing(believing(Verdict.HEALTHY), ASKED, known, known)
    assert (belief.verdict, belief.reason) == (Verdict.UNREACHABLE, "refuses the connection")


def test_third_miss_waits_for_the_word_from_elsewhere() -> None:
    waiting = missing(believing(Verdict.HEALTHY), ASKED, ASKED, ASKED)
    assert waiting.verdict is Verdict.HEALTHY
    assert next_look_s(waiting, POLICY) == POLICY.recheck_s
    assert missing(believing(Verdict.HEALTHY), ASKED, ASKED, ASKED, SILENT).verdict is Verdict.UNREACHABLE


def test_word_that_does_not_come_is_not_waited_for_any_longer() -> None:
    every_s = POLICY.second_look_s / 2  # between the first miss and the third
    assert missing(believing(Verdict.HEALTHY), ASKED, ASKED, ASKED, every_s=every_s).verdict is Verdict.UNREACHABLE


def test_question_that_is_put_again_holds_nothing_up() -> None:
    again = SILENT.is_asked()
    assert missing(believing(Verdict.HEALTHY), ASKED, again, again).verdict is Verdict.UNREACHABLE


def test_sight_from_elsewhere_outlasts_a_replica_that_says_nothing_for_a_moment() -> None:
    unsaid = SEEN.is_asked().said(None, START + timedelta(seconds=9))
    within = missing(believing(Verdict.UNKNOWN), *[unsaid] * 4, every_s=5)
    assert within.verdict is Verdict.UNKNOWN
    assert missing(within, *[unsaid] * 8, every_s=5).verdict is Verdict.UNREACHABLE  # nobody has seen it for 20 s


def test_unreachable_cluster_that_another_replica_sees_is_unreachable_no_more() -> None:
    assert missing(believing(Verdict.UNREACHABLE), SEEN, SEEN).verdict is Verdict.UNREACHABLE
    assert missing(believing(Verdict.UNREACHABLE), SEEN, SEEN, SEEN).verdict is Verdict.UNKNOWN


@given(st.lists(st.sampled_from([OK, REFUSED, ETCD, VOID]), max_size=20), st.sampled_from(Verdict))
def test_no_cluster_becomes_unreachable_while_another_replica_sees_it(seen: list[Observation], held: Verdict) -> None:
    belief = believing(held)
    for number, look in enumerate(seen):
        known = replace(SEEN, seen_at=START + timedelta(seconds=number))
        before, now = belief.verdict, START + timedelta(seconds=number)
        belief = judge(belief, look, ALL_WELL, now, POLICY, elsewhere=known)
        assert belief.verdict is not Verdict.UNREACHABLE or before is Verdict.UNREACHABLE


def test_misses_far_apart_do_not_add_up() -> None:
    assert after(believing(Verdict.HEALTHY), REFUSED, REFUSED, REFUSED, every_s=45).verdict is Verdict.HEALTHY


def test_void_look_between_misses_starts_the_count_again() -> None:
    assert after(believing(Verdict.HEALTHY), REFUSED, REFUSED, VOID, REFUSED, REFUSED).verdict is Verdict.HEALTHY


def test_failing_component_degrades_and_is_named() -> None:
    belief = after(believing(Verdict.HEALTHY), ETCD, ETCD)
    assert (belief.verdict, belief.reason) == (Verdict.DEGRADED, "not ready: etcd")


def test_server_error_degrades() -> None:
    error = Observation(Kind.SERVER_ERROR, "answers 503")
    assert after(believing(Verdict.HEALTHY), error, error).verdict is Verdict.DEGRADED


def test_unwell_node_degrades_and_is_named() -> None:
    nodes = NodesSummary(2, 3, ("w-1 NotReady: its kubelet stopped posting status",))
    belief = after(believing(Verdict.HEALTHY), OK, OK, nodes=nodes)
    assert belief.verdict is Verdict.DEGRADED
    assert belief.reason == "2 of 3 nodes ready: w-1 NotReady: its kubelet stopped posting status"


def test_many_unwell_nodes_are_counted_not_listed() -> None:
    nodes = NodesSummary(0, 5, tuple(f"w-{n} NotReady" for n in range(5)))
    assert after(unasked(START), OK, nodes=nodes).reason.endswith("w-2 NotReady and 2 more")


def test_list_of_nodes_that_fails_degrades() -> None:
    belief = after(believing(Verdict.HEALTHY), OK, OK, nodes=NodesSummary(failure="does not answer in time"))
    assert belief.verdict is Verdict.DEGRADED


def test_refused_credentials_lead_to_unknown_never_to_a_fault_of_the_cluster() -> None:
    refused = Observation(Kind.AUTH, "it refuses our credentials (401)")
    assert after(believing(Verdict.HEALTHY), refused, refused).verdict is Verdict.HEALTHY
    belief = after(believing(Verdict.HEALTHY), refused, refused, refused)
    assert (belief.verdict, belief.reason) == (Verdict.UNKNOWN, "it refuses our credentials (401)")


def test_cluster_that_hides_its_nodes_from_us_is_unknown() -> None:
    belief = after(unasked(START), OK, nodes=NodesSummary(refusal="it refuses our credentials (403)"))
    assert belief.verdict is Verdict.UNKNOWN
    assert belief.reason == "ready, but its nodes cannot be listed: it refuses our credentials (403)"


def test_unreachable_cluster_needs_two_answers_to_be_believed_again() -> None:
    assert after(believing(Verdict.UNREACHABLE), OK).verdict is Verdict.UNREACHABLE
    assert after(believing(Verdict.UNREACHABLE), OK, OK).verdict is Verdict.HEALTHY


def test_belief_goes_stale_while_the_monitor_is_unfit() -> None:
    assert after(believing(Verdict.HEALTHY), VOID, every_s=15).verdict is Verdict.HEALTHY
    belief = after(believing(Verdict.HEALTHY), VOID, VOID, every_s=15)
    assert (belief.verdict, belief.reason) == (
        Verdict.UNKNOWN,
        "the monitor is not fit to judge: its event loop ran late",
    )


def test_changed_count_of_nodes_is_told_without_a_new_since() -> None:
    before = after(unasked(START), OK)
    later = after(before, OK, nodes=NodesSummary(4, 4))
    assert not later.says_the_same_as(before)
    assert later.since == before.since


def test_open_question_is_looked_at_again_quickly() -> None:
    assert next_look_s(after(believing(Verdict.HEALTHY), REFUSED), POLICY) == POLICY.recheck_s
    assert next_look_s(after(believing(Verdict.HEALTHY), OK), POLICY) == POLICY.probe_every_s
    unreachable = after(believing(Verdict.HEALTHY), REFUSED, REFUSED, REFUSED)
    assert next_look_s(unreachable, POLICY) == POLICY.unreachable_every_s


def test_void_look_is_made_up_for_once() -> None:
    void = after(believing(Verdict.HEALTHY), REFUSED, VOID)
    assert next_look_s(void, POLICY) == POLICY.recheck_s
    assert next_look_s(after(void, VOID), POLICY) == POLICY.probe_every_s
    assert next_look_s(after(void, VOID, OK, VOID), POLICY) == POLICY.recheck_s
    assert next_look_s(after(believing(Verdict.UNREACHABLE), VOID), POLICY) == POLICY.unreachable_every_s


def test_hung_cluster_is_found_within_ten_seconds_with_the_default_settings() -> None:
    look_s = 1.5
    worst = POLICY.probe_every_s + POLICY.misses * max(look_s, POLICY.recheck_s)
    assert worst < 10


@given(start=verdicts, seen=st.lists(looks, max_size=30))
@settings(max_examples=200)
def test_unreachable_takes_three_misses_in_a_row_as_the_latest_looks(start: Verdict, seen: list[Observation]) -> None:
    belief = believing(start)
    for count in range(len(seen)):
        held, belief = belief, judge(belief, seen[count], ALL_WELL, START + timedelta(seconds=count), POLICY)
        if belief.verdict is Verdict.UNREACHABLE and held.verdict is not Verdict.UNREACHABLE:
            assert count >= 2
            assert all(look.is_miss for look in seen[count - 2 : count + 1])


@given(start=verdicts, gaps=st.lists(st.floats(0, 3600), max_size=30))
@settings(max_examples=100)
def test_looks_of_an_unfit_monitor_never_lead_anywhere_but_unknown(start: Verdict, gaps: list[float]) -> None:
    belief, now = believing(start), START
    for gap in gaps:
        now += timedelta(seconds=gap)
        belief = judge(belief, VOID, ALL_WELL, now, POLICY)
        assert belief.verdict in (start, Verdict.UNKNOWN)


@given(verdicts, st.sampled_from([Verdict.HEALTHY, Verdict.DEGRADED, Verdict.UNREACHABLE]), looks)
@settings(max_examples=200)
def test_one_look_never_changes_a_settled_belief(start: Verdict, settled: Verdict, seen: Observation) -> None:
    assert judge(believing(settled), seen, ALL_WELL, START + timedelta(seconds=5), POLICY).verdict is settled


@given(st.lists(st.booleans(), min_size=1, max_size=60))
@settings(max_examples=200)
def test_verdict_changes_far_less_often_than_the_answers(answers: list[bool]) -> None:
    belief, changes = believing(Verdict.HEALTHY), 0
    for count, answered in enumerate(answers):
        held, now = belief, START + timedelta(seconds=count)
        belief = judge(belief, OK if answered else REFUSED, ALL_WELL, now, POLICY)
        changes += belief.verdict is not held.verdict
    assert changes <= len(answers) / 2.5


def reading(name: str, verdict: Verdict = Verdict.HEALTHY, reason: str = "Ready") -> NodeReading:
    return NodeReading(name, verdict, reason, ready=verdict is Verdict.HEALTHY)


def test_node_on_its_way_out_does_not_degrade_the_cluster() -> None:
    listed = [reading("w-1"), reading("w-2", Verdict.UNREACHABLE, "NotReady")]
    assert summarise(listed, frozenset({"w-2"})) == NodesSummary(1, 1)


def test_joined_node_that_is_not_listed_is_unknown() -> None:
    changed = judge_nodes(
        {}, [reading("w-1")], joined={"w-1", "w-2"}, wanted=frozenset({"w-1", "w-2", "w-3"}), now=START
    )
    assert changed["w-1"].verdict is Verdict.HEALTHY
    assert changed["w-2"] == NodeBelief(Verdict.UNKNOWN, "not registered at the kube-apiserver", START)
    assert "w-3" not in changed


def test_node_that_caravan_did_not_make_is_not_told() -> None:
    assert judge_nodes({}, [reading("stranger")], joined=(), wanted=frozenset(), now=START) == {}


def test_unchanged_node_is_not_told_again_and_a_new_reason_keeps_its_since() -> None:
    held = {"w-1": NodeBelief(Verdict.DEGRADED, "DiskPressure", START)}
    later, wanted = START + timedelta(minutes=1), frozenset({"w-1"})
    assert judge_nodes(held, [reading("w-1", Verdict.DEGRADED, "DiskPressure")], (), wanted, later) == {}
    changed = judge_nodes(held, [reading("w-1", Verdict.DEGRADED, "PIDPressure")], (), wanted, later)
    assert changed["w-1"].since == START


def test_nodes_of_a_silent_cluster_are_unknown() -> None:
    changed = nodes_out_of_sight({"w-1": NodeBelief(Verdict.HEALTHY, "Ready", START)}, START + timedelta(seconds=9))
    assert changed["w-1"].verdict is Verdict.UNKNOWN
