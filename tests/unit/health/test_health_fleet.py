"""Telling an outage of clusters from an outage of ours."""

import random
from uuid import UUID, uuid5

from caravan_health.fleet import Fleet

SPACE = UUID(int=7)


def clusters(count: int) -> list[UUID]:
    return [uuid5(SPACE, str(number)) for number in range(count)]


def fleet() -> Fleet:
    return Fleet(window_s=2.0, share=0.5, at_least=3)


def one_round(whom: list[UUID], watch: Fleet, start: float, silent: set[UUID]) -> bool:
    """Look at each once within 5 s; whether the fleet ever was seen failing together."""
    together = False
    for number, cluster_id in enumerate(whom):
        watch.saw(cluster_id, cluster_id in silent, start + 5.0 * number / len(whom))
        together |= watch.fails_together
    return together


def test_lone_outage_is_no_outage_of_ours() -> None:
    whom, watch = clusters(1000), fleet()
    one_round(whom, watch, 0, set())
    random.Random(1).shuffle(whom)
    assert not one_round(whom, watch, 5, set(whom[::3]))


def test_monitor_cut_off_is_noticed_before_the_third_miss_of_anyone() -> None:
    whom, watch = clusters(1000), fleet()
    one_round(whom, watch, 0, set())
    for number, cluster_id in enumerate(whom):
        now = 5.0 + number / 200
        watch.saw(cluster_id, True, now)
        if now >= 7.0:  # the first to miss misses for the third time
            break
    assert watch.fails_together
    assert "stopped answering together" in str(watch)


def test_fleet_thaws_when_most_answer_again() -> None:
    whom, watch = clusters(100), fleet()
    one_round(whom, watch, 0, set())
    one_round(whom, watch, 5, set(whom))
    assert watch.fails_together
    one_round(whom, watch, 10, set(whom[:20]))
    assert not watch.fails_together


def test_repeated_misses_of_a_few_do_not_look_like_many() -> None:
    whom, watch = clusters(50), fleet()
    one_round(whom, watch, 0, set())
    for second in range(60):
        for cluster_id in whom[:5]:
            watch.saw(cluster_id, True, 5 + second)
    assert not watch.fails_together


def test_two_clusters_are_too_few_to_suspect_ourselves() -> None:
    whom, watch = clusters(2), fleet()
    one_round(whom, watch, 0, set())
    assert not one_round(whom, watch, 5, set(whom))


def test_first_miss_is_told_once_and_names_whom_to_compare_with() -> None:
    whom, watch = clusters(10), fleet()
    one_round(whom, watch, 0, set())
    assert watch.saw(whom[0], True, 10)
    assert not watch.saw(whom[0], True, 11)
    assert set(watch.quiet_lately(11, 20)) == set(whom[1:])
    assert len(watch.quiet_lately(11, 3)) == 3


def test_forgotten_cluster_counts_no_more() -> None:
    whom, watch = clusters(4), fleet()
    one_round(whom, watch, 0, set())
    one_round(whom, watch, 5, set(whom))
    for cluster_id in whom:
        watch.forget(cluster_id)
    watch.saw(whom[0], False, 20)
    assert not watch.fails_together
