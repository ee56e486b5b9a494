"""Hourly sums of verdicts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_health.rollup import HOUR, seconds_by_verdict, whole_hours
from caravan_shared.contracts.states import Verdict

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
changes = st.lists(st.tuples(st.integers(0, 3599), st.sampled_from(Verdict)), max_size=10)


def test_hour_without_change_is_all_one_verdict() -> None:
    assert seconds_by_verdict(Verdict.HEALTHY, [], NOON, NOON + HOUR)[Verdict.HEALTHY] == 3600


def test_outage_is_summed() -> None:
    minute = timedelta(minutes=1)
    outage = [(NOON + 10 * minute, Verdict.UNREACHABLE), (NOON + 25 * minute, Verdict.HEALTHY)]
    seconds = seconds_by_verdict(Verdict.HEALTHY, outage, NOON, NOON + HOUR)
    assert (seconds[Verdict.UNREACHABLE], seconds[Verdict.HEALTHY]) == (900, 2700)


@given(st.sampled_from(Verdict), changes)
@settings(max_examples=100)
def test_seconds_always_add_up_to_the_span(before: Verdict, raw: list[tuple[int, Verdict]]) -> None:
    at = sorted((NOON + timedelta(seconds=second), verdict) for second, verdict in raw)
    seconds = seconds_by_verdict(before, at, NOON, NOON + HOUR)
    assert sum(seconds.values()) == pytest.approx(3600)
    assert min(seconds.values()) >= 0


def test_unfinished_hour_waits() -> None:
    half = timedelta(minutes=30)
    assert whole_hours(NOON + half, NOON + HOUR - timedelta(seconds=1)) == []
    assert whole_hours(NOON + half, NOON + 2 * HOUR + half) == [
        (NOON + half, NOON + HOUR),
        (NOON + HOUR, NOON + 2 * HOUR),
    ]
