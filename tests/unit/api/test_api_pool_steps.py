"""What a pool does next: every bucket, what leaves and what is made, and how long the queue takes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_api.decide.pools import Bucket, Queue, Rules, Seen, bucket, decide, estimate_s, pause_s
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
        (ready(leased=True, **OLD), Bucket.LEASED),
        (ready(leased=True, phase=ClusterPhase.FAILED), Bucket.LEASED),
        (ready(deleting=True, leased=True), Bucket.LEAVING),
    ],
)
def test_every_cluster_is_in_one_bucket(seen: Seen, expected: Bucket) -> None:
    assert bucket(seen, RULES, NOW) is expected


@pytest.mark.parametrize(
    ("clusters", "waiting", "made"),
    [
        ([], 0, 2),
        ([ready()], 0, 1),
        ([ready(), making()], 0, 0),
        ([ready(), ready()], 1, 1),
        ([making(), making()], 5, 0),
        ([ready(leased=True)] * 4, 0, 1),
        ([ready(leased=True)] * 5, 3, 0),
        ([ready(deleting=True)] * 5, 0, 2),
        ([ready(**BROKEN)] * 5, 0, 2),
        ([ready(**STALE), ready(**STALE)], 0, 2),
    ],
)
def test_what_is_missing_is_made_within_the_pools_bounds(clusters: list[Seen], waiting: int, made: int) -> None:
    assert decide(RULES, clusters, waiting, NOW).make == made


def test_nothing_is_made_while_the_pool_holds_off() -> None:
    assert decide(RULES, [], 3, NOW, holds_off=True).make == 0


def left(*clusters: Seen, **rules: Any) -> dict[UUID, str]:
    return {going.cluster_id: going.why for going in decide(replace(RULES, **rules), clusters, 0, NOW).let_go}


def test_broken_and_stale_ones_leave_at_once_with_their_reason() -> None:
    broken, stale, lost = ready(**BROKEN), ready(**STALE), making(made_at=ago(700))
    assert left(broken, stale, lost, ready(), ready()) == {
        broken.cluster_id: "its smoke test keeps failing: no DNS",
        stale.cluster_id: "the pool's template changed",
        lost.cluster_id: "it was not fit after 600 s",
    }


def test_only_what_never_was_fit_counts_as_a_failure_to_make_one() -> None:
    steps = decide(RULES, [ready(**BROKEN), making(made_at=ago(700))], 0, NOW)
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


def test_leased_clusters_are_never_let_go() -> None:
    assert left(*[ready(leased=True, **OLD)] * 9, ready(leased=True, **STALE), spares=0) == {}


@given(st.lists(st.builds(lambda make, **changes: make(**changes), st.sampled_from([ready, making]),
       leased=st.booleans(), deleting=st.booleans(), template_revision=st.sampled_from([2, 3]),
       made_at=st.integers(0, 9000).map(ago)), max_size=12), st.integers(0, 6))  # fmt: skip
def test_a_pool_never_grows_beyond_its_bounds(clusters: list[Seen], waiting: int) -> None:
    steps = decide(RULES, clusters, waiting, NOW)
    gone = {going.cluster_id for going in steps.let_go}
    staying = [seen for seen in clusters if not seen.deleting and seen.cluster_id not in gone]
    assert steps.make >= 0
    assert steps.make == 0 or len(staying) + steps.make <= RULES.max_size
    assert steps.make == 0 or steps.buckets[Bucket.MAKING] + steps.make <= RULES.max_making
    assert sum(steps.buckets.values()) == len(clusters)


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
