"""When a lease ends and when its holder is warned."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from caravan_api.decide.leases import Live, next_look, warns, why_over
from caravan_shared.contracts.states import LeaseState

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


HOUR = Live(LeaseState.HELD, heard_at=START, granted_at=START, ends_at=after(3600))
BEATING = replace(HOUR, heartbeat_s=60, heard_at=after(100))
QUEUED = Live(LeaseState.WAITING, heard_at=after(100))


@pytest.mark.parametrize(
    ("lease", "at_s", "over"),
    [
        (HOUR, 3599, None),
        (HOUR, 3600, "its time was up"),
        (BEATING, 159, None),
        (BEATING, 160, "its holder was not heard of for 60 s"),
        (QUEUED, 999_999, None),
        (replace(QUEUED, heartbeat_s=60), 160, "its holder was not heard of for 60 s"),
        (replace(BEATING, state=LeaseState.KEPT), 1000, None),
        (replace(BEATING, state=LeaseState.KEPT), 3600, "its time was up"),
    ],
)
def test_a_lease_ends_with_its_time_or_its_holders_silence(lease: Live, at_s: float, over: str | None) -> None:
    assert why_over(lease, after(at_s)) == over


def test_the_holder_is_warned_once_ten_minutes_or_a_quarter_before_the_end() -> None:
    assert [warns(HOUR, after(at_s)) for at_s in (2999, 3000)] == [False, True]
    short = replace(HOUR, ends_at=after(400))
    assert [warns(short, after(at_s)) for at_s in (299, 300)] == [False, True]
    assert not warns(replace(HOUR, warned=True), after(3500))
    assert not warns(replace(HOUR, state=LeaseState.KEPT), after(3500))


def test_the_next_look_is_at_whatever_comes_first() -> None:
    assert next_look(HOUR) == after(3000)
    assert next_look(replace(HOUR, warned=True)) == after(3600)
    assert next_look(BEATING) == after(160)
    assert next_look(replace(BEATING, state=LeaseState.KEPT)) == after(3600)
    assert next_look(QUEUED) is None
    assert next_look(replace(QUEUED, heartbeat_s=60)) == after(160)
