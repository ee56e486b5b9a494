"""What a pool does next: every bucket, what leaves and what is made, and how long the queue takes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_api.decide.pools import (
    Bucket,
    Others,
    Queue,
    Rules,
    Seen,
    bucket,
    count,
    decide,
    estimate_s,
    held,
    pause_s,
)
from caravan_shared.contracts.states import ClusterPhase, Verdict

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = Rules(
    spares=2,
    max_size=5,
    max_making=2,
    template_revision=3,
    max_making_s=600,
    max_spare_age_s=3600,
    smoke_max_age_s=60,
)
NONE = Others()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ready(**changes: Any) -> Seen:
    spare = Seen(
        cluster_id=uuid4(),
        template_revision=3,
        made_at=ago(300),
        phase=ClusterPhase.READY,
        verdict=Verdict.HEALTHY,
        ready_at=ago(200),
        tested_at=ago(10),
    )
    return replace(spare, **changes)


def making(**changes: Any) -> Seen:
    return ready(phase=ClusterPhase.PROVISIONING, verdict=None, ready_at=None, tested_at=None, **changes)


def asleep(**changes: Any) -> Seen:
    sleeps = {"phase": ClusterPhase.HIBERNATED, "verdict": Verdict.UNKNOWN, "asleep": True, "tested_at": ago(3000)}
    return ready(**{**sleeps, **changes})


STALE = {"template_revision": 2}
OLD = {"made_at": ago(5000), "ready_at": ago(4000)}
BROKEN = {"failing_since": ago(130), "problem": "no DNS"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (ready(), Bucket.READY),
        (making(), Bucket.MAKING),
        (ready(tested_at=None, ready_at=None), Bucket.MAKING),
        (ready(tested_at=ago(61)), Bucket.MAKING),
        (ready(verdict=Verdict.DEGRADED), Bucket.MAKING),
        (ready(**STALE), Bucket.STALE),
        (making(**STALE), Bucket.STALE),
        (ready(**OLD), Bucket.OLD),
        (ready(phase=ClusterPhase.FAILED), Bucket.BROKEN),
        (ready(**BROKEN), Bucket.BROKEN),
        (ready(**BROKEN, **STALE), Bucket.BROKEN),
        (ready(failing_since=ago(20)), Bucket.READY),
        (making(made_at=ago(601)), Bucket.BROKEN),
        (asleep(), Bucket.ASLEEP),
        (asleep(**STALE), Bucket.STALE),
        (asleep(**OLD), Bucket.OLD),
        (ready(woken_at=ago(5)), Bucket.MAKING),
        (ready(woken_at=ago(20)), Bucket.READY),
        (ready(phase=ClusterPhase.WAKING, verdict=Verdict.UNKNOWN, woken_at=ago(5)), Bucket.MAKING),
        (ready(phase=ClusterPhase.WAKING, tested_at=ago(700), woken_at=ago(601)), Bucket.BROKEN),
    ],
)
def test_every_cluster_is_in_one_bucket(seen: Seen, expected: Bucket) -> None:
    assert bucket(seen, RULES, NOW) is expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (ready(**STALE), Bucket.READY),
        (ready(**STALE, **OLD), Bucket.READY),
        (ready(**STALE, tested_at=ago(61)), Bucket.MAKING),
        (making(**STALE), Bucket.STALE),
        (asleep(**STALE), Bucket.ASLEEP),
        (ready(**STALE, **BROKEN), Bucket.BROKEN),
        (ready(**OLD), Bucket.OLD),
    ],
)
def test_spare_of_an_earlier_template_is_one_like_the_others_until_the_roll_may_begin(
    seen: Seen, expected: Bucket
) -> None:
    assert bucket(seen, replace(RULES, roll_waits=True), NOW) is expected


def test_roll_that_waits_replaces_what_broke_and_nothing_else() -> None:
    clusters = [ready(**STALE), ready(**STALE, **OLD), ready(**STALE, **BROKEN)]
    waits = replace(RULES, roll_waits=True, spares=3)
    steps = decide(waits, clusters, NONE, 0, NOW)
    assert ([going.cluster_id for going in steps.let_go], steps.make) == ([clusters[2].cluster_id], 1)
    assert held([*clusters, ready()], waits, NOW) == 2
    rolls = replace(waits, roll_waits=False)
    assert len(decide(rolls, clusters, NONE, 0, NOW).let_go) == 3
    assert held(clusters, rolls, NOW) == 0


@pytest.mark.parametrize(
    ("clusters", "others", "waiting", "made"),
    [
        ([], NONE, 0, 2),
        ([ready()], NONE, 0, 1),
        ([ready(), making()], NONE, 0, 0),
        ([ready(), ready()], NONE, 1, 1),
        ([making(), making()], NONE, 5, 0),
        ([], Others(leased=4), 0, 1),
        ([], Others(leased=5), 3, 0),
        ([], Others(leaving=5), 0, 2),
        ([ready(**BROKEN)] * 5, NONE, 0, 2),
        ([ready(**STALE), ready(**STALE)], NONE, 0, 2),
    ],
)
def test_what_is_missing_is_made_within_the_pools_bounds(
    clusters: list[Seen], others: Others, waiting: int, made: int
) -> None:
    assert decide(RULES, clusters, others, waiting, NOW).make == made


@pytest.mark.parametrize(
    ("clusters", "waiting", "slept", "woken"),
    [
        ([ready()] * 4, 0, 2, 0),
        ([ready()] * 3, 0, 1, 0),
        ([ready()] * 2, 0, 0, 0),
        ([ready(), ready(), making(), asleep()], 0, 0, 0),
        ([ready(failing_since=ago(20))] * 4, 0, 0, 0),
        ([ready(), ready(), asleep(), asleep()], 0, 0, 0),
        ([asleep(), asleep()], 0, 0, 0),
        ([asleep()] * 4, 0, 0, 2),
        ([asleep(), asleep()], 1, 0, 1),
        ([ready(), asleep()], 1, 0, 0),
        ([making(), asleep()], 1, 0, 1),
        ([ready(woken_at=ago(5)), asleep()], 1, 0, 0),
        ([asleep(), asleep()], 5, 0, 2),
    ],
)
def test_share_of_the_spares_sleeps_and_is_woken_for_those_who_wait(
    clusters: list[Seen], waiting: int, slept: int, woken: int
) -> None:
    rules = replace(RULES, spares=4, max_size=20, hibernate_share=50)
    each = [replace(seen, cluster_id=uuid4()) for seen in clusters]
    steps = decide(rules, each, NONE, waiting, NOW)
    assert (len(steps.put_to_sleep), len(steps.wake)) == (slept, woken)


def test_sleepers_count_as_spares_and_go_before_those_awake() -> None:
    assert decide(replace(RULES, hibernate_share=50), [ready(), asleep()], NONE, 0, NOW).make == 0
    awake, sleeper = ready(), asleep()
    assert left(awake, sleeper, spares=1, hibernate_share=100) == {
        sleeper.cluster_id: "the pool keeps fewer spares now"
    }


def test_newest_is_put_to_sleep_and_oldest_is_woken() -> None:
    rules = replace(RULES, hibernate_share=50)
    old, new = ready(made_at=ago(500)), ready(made_at=ago(100))
    assert decide(rules, [old, new], NONE, 0, NOW).put_to_sleep == (new.cluster_id,)
    old, new = asleep(made_at=ago(500)), asleep(made_at=ago(100))
    assert decide(rules, [new, old], NONE, 1, NOW).wake == (old.cluster_id,)


def test_waking_takes_no_place_of_those_in_the_making() -> None:
    waking = [ready(woken_at=ago(5), cluster_id=uuid4()) for _ in range(2)]
    assert decide(replace(RULES, max_making=1), waking, NONE, 1, NOW).make == 1


def test_nothing_is_made_while_the_pool_holds_off() -> None:
    assert decide(RULES, [], NONE, 3, NOW, holds_off=True).make == 0


def left(*clusters: Seen, **rules: Any) -> dict[UUID, str]:
    steps = decide(replace(RULES, **rules), clusters, NONE, 0, NOW)
    return {going.cluster_id: going.why for going in steps.let_go}


def test_broken_and_stale_ones_leave_at_once_with_their_reason() -> None:
    broken, stale, lost = ready(**BROKEN), ready(**STALE), making(made_at=ago(700))
    assert left(broken, stale, lost, ready(), ready()) == {
        broken.cluster_id: "its smoke test keeps failing: no DNS",
        stale.cluster_id: "the pool's template changed",
        lost.cluster_id: "it was not fit after 600 s",
    }


def test_only_what_never_was_fit_counts_as_a_failure_to_make_one() -> None:
    steps = decide(RULES, [ready(**BROKEN), making(made_at=ago(700))], NONE, 0, NOW)
    assert sorted(going.never_fit for going in steps.let_go) == [False, True]


def test_old_spares_stay_until_others_are_ready_in_their_place() -> None:
    first, second = ready(**OLD), ready(**{**OLD, "made_at": ago(4900)})
    assert left(first, second) == {}
    assert list(left(first, second, ready())) == [first.cluster_id]
    assert set(left(first, second, ready(), ready())) == {first.cluster_id, second.cluster_id}


def test_one_old_spare_leaves_a_full_pool_to_make_room() -> None:
    first, second = ready(**OLD), ready(**{**OLD, "made_at": ago(4900)})
    assert list(left(first, second, max_size=2)) == [first.cluster_id]


def test_surplus_leaves_from_those_in_the_making_first() -> None:
    late, early = making(made_at=ago(10)), making(made_at=ago(20))
    assert list(left(ready(), early, late)) == [late.cluster_id]
    assert len(left(ready(), ready(), ready(), spares=0)) == 3


def test_an_old_spare_makes_room_also_where_leases_fill_the_pool() -> None:
    steps = decide(RULES, [ready(**OLD)], Others(leased=4), 0, NOW)
    assert (len(steps.let_go), steps.make) == (1, 1)


def test_leased_and_leaving_clusters_are_counted_beside_the_others() -> None:
    counted = count([ready(), making(), making()], Others(leased=3, leaving=2), RULES, NOW)
    assert counted == {Bucket.READY: 1, Bucket.MAKING: 2, Bucket.LEASED: 3, Bucket.LEAVING: 2}


@given(st.lists(st.builds(lambda make, **changes: make(**changes), st.sampled_from([ready, making]),
       template_revision=st.sampled_from([2, 3]), made_at=st.integers(0, 9000).map(ago)), max_size=12),
       st.builds(Others, leased=st.integers(0, 6), leaving=st.integers(0, 6)), st.integers(0, 6))  # fmt: skip
def test_a_pool_never_grows_beyond_its_bounds(clusters: list[Seen], others: Others, waiting: int) -> None:
    steps = decide(RULES, clusters, others, waiting, NOW)
    gone = {going.cluster_id for going in steps.let_go}
    staying = others.leased + sum(seen.cluster_id not in gone for seen in clusters)
    buckets = count(clusters, others, RULES, NOW)
    assert steps.make >= 0
    assert steps.make == 0 or staying + steps.make <= RULES.max_size
    assert steps.make == 0 or buckets[Bucket.MAKING] + steps.make <= RULES.max_making
    assert sum(buckets.values()) == len(clusters) + others.leased + others.leaving


def test_pauses_double_up_to_half_an_hour() -> None:
    assert [pause_s(failures) for failures in (0, 1, 2, 3, 50)] == [0, 30, 60, 120, 1800]


@pytest.mark.parametrize(
    ("position", "making_since", "room", "expected"),
    [
        (1, [50], 3, 50),
        (1, [150], 3, 0),
        (2, [10, 60], 3, 90),
        (1, [], 3, 100),
        (2, [50], 3, 100),
        (3, [50], 3, 200),
        (3, [], 3, 200),
        (4, [], 3, None),
        (1, [], 0, None),
    ],
)
def test_the_wait_is_estimated_from_what_is_under_way(
    position: int, making_since: list[float], room: int, expected: float | None
) -> None:
    queue = Queue([ago(seconds) for seconds in making_since], usual_making_s=100, at_once=2, room=room)
    assert estimate_s(position, queue, NOW) == expected
