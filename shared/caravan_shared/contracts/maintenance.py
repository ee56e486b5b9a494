"""When Caravan may begin by itself what disturbs a cluster: its maintenance windows, and when the next one opens. Pure.

A window begins at a time of day on some days of the week, as clocks at its place show it, and lasts for so long as
measured, whatever those clocks do meanwhile. A beginning that summer time leaps over is as much later as clocks leap;
of two with the same time, the first counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_DAYS_AHEAD = 8  # a weekly window that is over today opens again within them
_LONGEST_DAYS = 1


class Weekday(StrEnum):
    """A day of the week, in the order of `datetime.weekday`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())  # which looks through the file system each time


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("no such time zone; give one such as UTC or Europe/Berlin")
    return name


Timezone = Annotated[str, AfterValidator(_known_timezone)]


@dataclass(frozen=True, slots=True)
class Opening:
    """One time that a window is open, in UTC: local times that come twice a year equal nothing."""

    opens_at: datetime
    closes_at: datetime
    timezone: str

    def __str__(self) -> str:
        """As clocks at the window's place show it, such as `Sat 3 Jan 02:00–06:00 (Europe/Berlin)`."""
        opens, closes = (moment.astimezone(ZoneInfo(self.timezone)) for moment in (self.opens_at, self.closes_at))
        return f"{opens:%a} {opens.day} {opens:%b} {opens:%H:%M}–{closes:%H:%M} ({self.timezone})"


class MaintenanceWindow(BaseModel):
    """A part of every week."""

    example: ClassVar[dict[str, Any]] = {
        "days": ["sat"],
        "start": "02:00",
        "duration_s": 14_400,
        "timezone": "Europe/Berlin",
    }
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [example]})

    days: tuple[Weekday, ...] = Field(tuple(Weekday), min_length=1, description="On which it opens; default: all.")
    start: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        description="The time of day at which it opens, `HH:MM`."
    )
    duration_s: int = Field(4 * 3600, ge=1800, le=_LONGEST_DAYS * 86_400, description="Seconds that it stays open.")
    timezone: Timezone = Field("UTC", description="Where `start` is read, such as Europe/Berlin.")

    def openings(self, now: datetime) -> Iterator[Opening]:
        """Every opening of the coming week that is not over at `now`, in their order."""
        zone, starts = ZoneInfo(self.timezone), time.fromisoformat(self.start)
        today = now.astimezone(zone).date()
        for ahead in range(-_LONGEST_DAYS, _DAYS_AHEAD):
            day = today + timedelta(days=ahead)
            # In UTC between the two: what is added to a local time ignores that clocks change.
            opens_at = datetime.combine(day, starts, zone).astimezone(UTC)
            closes_at = opens_at + timedelta(seconds=self.duration_s)
            if list(Weekday)[day.weekday()] in self.days and closes_at > now:
                yield Opening(opens_at, closes_at, self.timezone)


class Maintenance(BaseModel):
    """When upgrades and the renewal of certificates may begin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: tuple[MaintenanceWindow, ...] = Field((), max_length=20, description="None: at any time.")
    at_once: str | None = Field(
        None,
        pattern=r"^\d+\.\d+\.\d+$",
        description="The Kubernetes version whose upgrade waits for no window.",
    )


def opening(windows: Iterable[MaintenanceWindow], now: datetime) -> Opening | None:
    """The opening that `now` is in, the one that lasts longest if there are several; else the next one.

    None where there is no window. Whoever asks compares its `opens_at` with now.
    """
    found = [each for window in windows for each in window.openings(now)]
    return min(found, key=lambda each: (max(each.opens_at, now), now - each.closes_at), default=None)


def wait_s(windows: Iterable[MaintenanceWindow], now: datetime) -> float:
    """Seconds until the next opening; 0 while one is open, and where there is no window."""
    found = opening(windows, now)
    return max(0.0, (found.opens_at - now).total_seconds()) if found else 0.0
