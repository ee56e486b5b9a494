"""When maintenance windows are open, and when they open next: days, nights over midnight, and clocks that change."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from caravan_shared.contracts.maintenance import MaintenanceWindow, opening, wait_s

SATURDAY_NIGHT = MaintenanceWindow(days=("sat",), start="02:00", duration_s=4 * 3600, timezone="Europe/Berlin")
HOUR = 3600


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-01-01T12:00", "2026-01-03T01:00", "2026-01-03T05:00"),
        ("2026-01-03T00:59", "2026-01-03T01:00", "2026-01-03T05:00"),
        ("2026-01-03T01:00", "2026-01-03T01:00", "2026-01-03T05:00"),
        ("2026-01-03T04:59", "2026-01-03T01:00", "2026-01-03T05:00"),
        ("2026-01-03T05:00", "2026-01-10T01:00", "2026-01-10T05:00"),
        ("2026-07-03T12:00", "2026-07-04T00:00", "2026-07-04T04:00"),
    ],
)
def test_next_opening_is_read_at_the_windows_place(now: str, opens: str, closes: str) -> None:
    found = opening([SATURDAY_NIGHT], utc(now))
    assert found is not None
    assert (found.opens_at, found.closes_at) == (utc(opens), utc(closes))


def test_window_is_told_as_clocks_at_its_place_show_it() -> None:
    assert str(opening([SATURDAY_NIGHT], utc("2026-01-01T12:00"))) == "Sat 3 Jan 02:00–06:00 (Europe/Berlin)"


def test_window_over_midnight_is_open_on_the_morning_after() -> None:
    late = MaintenanceWindow(days=("fri",), start="23:00", duration_s=4 * HOUR)
    assert wait_s([late], utc("2026-01-03T02:30")) == 0
    assert wait_s([late], utc("2026-01-03T03:00")) > 0


@pytest.mark.parametrize(
    ("start", "opens", "closes"),
    [
        # On 29 March 2026 clocks in Berlin leap from 02:00 to 03:00, which is 01:00 UTC.
        ("01:30", "2026-03-29T00:30", "2026-03-29T02:30"),
        ("02:30", "2026-03-29T01:30", "2026-03-29T03:30"),
        ("03:00", "2026-03-29T01:00", "2026-03-29T03:00"),
    ],
)
def test_hour_that_summer_time_leaps_over_makes_no_window_shorter(start: str, opens: str, closes: str) -> None:
    window = MaintenanceWindow(days=("sun",), start=start, duration_s=2 * HOUR, timezone="Europe/Berlin")
    found = opening([window], utc("2026-03-28T12:00"))
    assert found is not None
    assert (found.opens_at, found.closes_at) == (utc(opens), utc(closes))


def test_hour_that_comes_twice_opens_a_window_once_at_its_first_time() -> None:
    # On 25 October 2026 clocks in Berlin go back from 03:00 to 02:00, which is 01:00 UTC.
    window = MaintenanceWindow(days=("sun",), start="02:30", duration_s=1800, timezone="Europe/Berlin")
    found = opening([window], utc("2026-10-24T12:00"))
    assert found is not None
    assert (found.opens_at, found.closes_at) == (utc("2026-10-25T00:30"), utc("2026-10-25T01:00"))
    after = opening([window], utc("2026-10-25T01:15"))
    assert after is not None
    assert after.opens_at == utc("2026-11-01T01:30")


def test_soonest_of_several_counts_and_of_open_ones_the_longest() -> None:
    daily = MaintenanceWindow(start="03:00", duration_s=HOUR)
    assert wait_s([SATURDAY_NIGHT, daily], utc("2026-01-01T02:00")) == HOUR
    found = opening([daily, SATURDAY_NIGHT], utc("2026-01-03T03:30"))
    assert found is not None
    assert found.closes_at == utc("2026-01-03T05:00")


def test_without_windows_nothing_waits() -> None:
    assert opening([], utc("2026-01-01T00:00")) is None
    assert wait_s([], utc("2026-01-01T00:00")) == 0


@pytest.mark.parametrize(
    "wrong", [{"start": "24:00"}, {"start": "2:00"}, {"duration_s": 60}, {"days": ()}, {"timezone": "Mars/Olympus"}]
)
def test_window_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MaintenanceWindow.model_validate({"start": "02:00", **wrong})
