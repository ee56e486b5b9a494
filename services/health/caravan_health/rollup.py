"""Sum up how long a cluster was in each verdict, hour by hour. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from caravan_shared.contracts.states import Verdict

HOUR = timedelta(hours=1)


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour that holds this moment."""
    return moment.replace(minute=0, second=0, microsecond=0)


def seconds_by_verdict(
    verdict_before: Verdict, transitions: Sequence[tuple[datetime, Verdict]], start: datetime, end: datetime
) -> dict[Verdict, float]:
    """Seconds in each verdict from `start` to `end`, beginning with `verdict_before`; `transitions` by time."""
    seconds = dict.fromkeys(Verdict, 0.0)
    verdict, since = verdict_before, start
    for at, new in (change for change in transitions if start <= change[0] < end):
        seconds[verdict] += (at - since).total_seconds()
        verdict, since = new, at
    seconds[verdict] += (end - since).total_seconds()
    return seconds


def whole_hours(start: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """The spans, each within one clock hour, from `start` up to the last full hour before `now`."""
    spans, last = [], hour_of(now)
    while start < last:
        end = hour_of(start) + HOUR
        spans.append((start, end))
        start = end
    return spans
