"""Telling an outage of clusters from an outage of ours."""

import random
from uuid import UUID, uuid5

import pytest

from caravan_health.fleet import Fleet

SPACE = UUID(int=7)
EVERY_S = 5.0


def clusters(count: int) -> list[UUID]:
    return [uuid5(SPACE, str(number)) for number in range(count)]


def fleet_of(whom: list[UUID]) -> Fleet:
    """All answered in the round before second 0."""
    watch = Fleet(share=0.5, at_least=3, round_s=EVERY_S)
    for number, cluster_id in enumerate(whom):
        watch.saw(cluster_id, False, EVERY_S * (number / len(whom) - 1))
    return watch


def look(watch: Fleet, whom: list[UUID], silent: set[UUID], until: float) -> None:
    """One round of looks from second 0 on, cut short at `until`."""
    for number, cluster_id in enumerate(whom):
        now = EVERY_S * number / len(whom)
        if now <= until:
            watch.saw(cluster_id, cluster_id in silent, now)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_real_outage_of_a_part_is_vouched_for_by_the_rest(share: float) -> None:
    whom = clusters(1000)
    watch = fleet_of(whom)
    lost = set(random.Random(1).sample(whom, int(1000 * share)))
    look(watch, whom, lost, until=2.5)
    first = next(cluster_id for cluster_id in whom if cluster_id in lost)
    assert not watch.doubt(first, 2.5)


def test_nobody_vouches_for_a_monitor_that_is_cut_off() -> None:
    whom = clusters(1000)
    watch = fleet_of(whom)
    look(watch, whom, set(whom), until=2.0)  # the first to miss misses for the third time
    assert {watch.doubt(cluster_id, 2.0) for cluster_id in whom[:400]} == {"401 of 1000 clusters fell silent together"}


def test_clusters_that_fall_silent_side_by_side_wait_for_the_control_group() -> None:
    whom = clusters(30)
    watch = fleet_of(whom)
    for cluster_id in whom[:10]:
        assert watch.saw(cluster_id, True, 0.0)
    assert watch.doubt(whom[0], 0.1)
    for cluster_id in watch.control_group(0.0, 4):
        watch.saw(cluster_id, False, 0.1)
    assert watch.wanted(whom[0], 0.1) == 7
    for cluster_id in watch.control_group(0.0, 7):
        watch.saw(cluster_id, False, 0.1)
    assert watch.wanted(whom[0], 0.1) == 0
    assert not watch.doubt(whom[0], 0.1)


def test_asking_others_helps_neither_one_that_answers_nor_a_fleet_that_comes_back() -> None:
    whom = clusters(10)
    watch = fleet_of(whom)
    assert watch.wanted(whom[0], 0.0) == 0
    look(watch, whom, set(whom), until=5.0)
    assert watch.doubt(whom[0], 5.0)
    assert watch.wanted(whom[0], 5.0) == 0


def test_control_group_is_whoever_was_not_looked_at_for_the_longest() -> None:
    whom = clusters(10)
    watch = fleet_of(whom)
    watch.saw(whom[0], True, 1.0)
    watch.saw(whom[1], False, 1.0)
    assert watch.control_group(1.0, 3) == whom[2:5]
    assert set(watch.control_group(1.0, 20)) == set(whom[2:])


def test_fleet_vouches_again_a_round_after_most_answer_again() -> None:
    whom = clusters(100)
    watch = fleet_of(whom)
    look(watch, whom, set(whom), until=5.0)
    for cluster_id in whom[20:]:
        watch.saw(cluster_id, False, 6.0)
    assert watch.doubt(whom[0], 9.9) == "100 of 100 clusters fell silent together"
    assert not watch.doubt(whom[0], 10.0)


def test_answers_from_before_the_silence_prove_nothing() -> None:
    whom = clusters(10)
    watch = fleet_of(whom)
    for cluster_id in whom[:3]:
        watch.saw(cluster_id, True, 0.0)
    assert watch.doubt(whom[0], 0.0)


def test_two_clusters_are_too_few_to_suspect_ourselves() -> None:
    whom = clusters(2)
    watch = fleet_of(whom)
    look(watch, whom, set(whom), until=5.0)
    assert not watch.doubt(whom[0], 5.0)


def test_share_above_one_switches_the_suspicion_off() -> None:
    whom = clusters(10)
    watch = Fleet(share=1.1, at_least=3, round_s=EVERY_S)
    look(watch, whom, set(whom), until=5.0)
    assert not watch.doubt(whom[0], 5.0)


def test_first_miss_is_told_once() -> None:
    whom = clusters(3)
    watch = fleet_of(whom)
    assert watch.saw(whom[0], True, 1.0)
    assert not watch.saw(whom[0], True, 2.0)


def test_cluster_believed_unreachable_counts_no_more() -> None:
    whom = clusters(10)
    watch = fleet_of(whom)
    look(watch, whom, set(whom), until=5.0)
    for cluster_id in whom[1:]:
        watch.forget(cluster_id)
    assert not watch.doubt(whom[0], 5.0 + EVERY_S)
