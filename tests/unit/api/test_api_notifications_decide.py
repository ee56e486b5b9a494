"""When a chat is told what, in how many messages, and how fast."""

from datetime import UTC, datetime, timedelta

import pytest

from caravan_api.decide.notifications import Bucket, News, Occasion, Pace, message, next_message, pause_s

START = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace(burst=3, every_s=10)


def _news(about: str, after_s: float = 0, occasion: Occasion = Occasion.CLUSTER_UNHEALTHY) -> News:
    return News(1, occasion, about, f"{about} is not well", START + timedelta(seconds=after_s))


def test_one_thing_is_told_in_its_own_words_and_several_by_name() -> None:
    assert message([_news("a")]) == "a is not well"
    assert message([_news(name) for name in "abcde"]) == "5 clusters unhealthy: a, b, c, d, e"
    assert message([_news(f"c{number}") for number in range(12)]).endswith("c9 and 2 more")


def test_what_happened_to_one_twice_is_told_once() -> None:
    assert message([_news("a"), _news("b"), _news("a")]) == "2 clusters unhealthy: a, b"
    assert message([_news("a"), _news("a")]) == "a is not well"


def test_a_message_waits_for_what_comes_along_and_holds_one_occasion() -> None:
    pending = [_news("a"), _news("b", 3), _news("c", 1, Occasion.LEASE_ENDING)]
    group, due_s = next_message(pending, group_s=10, now=START + timedelta(seconds=4))
    assert ([news.about for news in group], due_s) == (["a", "b"], 6)
    assert next_message(pending, group_s=10, now=START + timedelta(seconds=11))[1] == 0


def test_a_target_takes_a_burst_and_then_one_every_so_often() -> None:
    bucket, now = Bucket(tokens=3, at=START, held_until=START), START
    for _ in range(3):
        assert bucket.wait_s(now, PACE) == 0
        bucket = bucket.after_one(now, PACE)
    assert bucket.wait_s(now, PACE) == 10
    assert bucket.wait_s(now + timedelta(seconds=4), PACE) == pytest.approx(6)
    assert bucket.wait_s(now + timedelta(seconds=10), PACE) == 0


def test_a_full_bucket_gains_nothing_and_one_whose_target_asked_to_wait_waits() -> None:
    bucket = Bucket(tokens=3, at=START, held_until=START + timedelta(seconds=30))
    assert bucket.at_moment(START + timedelta(days=1), PACE).tokens == 3
    assert bucket.wait_s(START + timedelta(seconds=20), PACE) == 10


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [pause_s(tries) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert pause_s(10_000) == 600
