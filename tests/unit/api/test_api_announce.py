"""When desired state is said again: after silence, with growing pauses, and seldom once it is settled."""

from datetime import UTC, datetime, timedelta

from caravan_api.decide.announce import Pauses, Silence, announce_at

T = datetime(2026, 1, 1, tzinfo=UTC)
PAUSES = Pauses(after_s=15, at_most_s=300, settled_s=3600)


def seconds(silence: Silence, *, settled: bool = False) -> float:
    return (announce_at(silence, PAUSES, settled=settled) - T).total_seconds()


def test_the_first_announcement_comes_after_the_shortest_silence() -> None:
    assert seconds(Silence(T, None, 0)) == 15


def test_hearing_anything_starts_the_silence_anew() -> None:
    assert seconds(Silence(T, T + timedelta(seconds=100), 0)) == 115


def test_pauses_double_up_to_the_longest() -> None:
    assert [seconds(Silence(T, None, unanswered)) for unanswered in (1, 2, 3, 4, 5, 6, 10_000)] == [
        30,
        60,
        120,
        240,
        300,
        300,
        300,
    ]


def test_a_settled_cluster_is_announced_seldom() -> None:
    assert seconds(Silence(T, T, 0), settled=True) == 3600
