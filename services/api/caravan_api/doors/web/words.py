"""Moments, durations and states in words: Jinja's filters. Pure."""

from datetime import datetime, timedelta
from itertools import pairwise

from caravan_api.decide.pools import Bucket
from caravan_shared.contracts.states import ClusterPhase, InventoryState, LeaseState, Verdict

_UNITS = tuple(pairwise((("d", 86400), ("h", 3600), ("min", 60), ("s", 1))))
"""Each unit and its seconds, with the next smaller one."""

COLOURS: dict[str, str] = {
    ClusterPhase.READY: "green",
    ClusterPhase.FAILED: "red",
    ClusterPhase.REQUESTED: "azure",
    ClusterPhase.PROVISIONING: "azure",
    ClusterPhase.BOOTSTRAPPING: "azure",
    ClusterPhase.UPDATING: "azure",
    ClusterPhase.HIBERNATING: "azure",
    ClusterPhase.HIBERNATED: "secondary",
    ClusterPhase.WAKING: "azure",
    ClusterPhase.DELETING: "secondary",
    ClusterPhase.DELETED: "secondary",
    Verdict.HEALTHY: "green",
    Verdict.DEGRADED: "yellow",
    Verdict.UNREACHABLE: "red",
    Verdict.UNKNOWN: "secondary",
    LeaseState.WAITING: "azure",
    LeaseState.HELD: "green",
    LeaseState.KEPT: "yellow",
    LeaseState.ENDED: "secondary",
    InventoryState.CHECKING: "azure",
    InventoryState.AVAILABLE: "green",
    InventoryState.CLAIMED: "blue",
    InventoryState.CLEANING: "azure",
    InventoryState.QUARANTINED: "red",
    Bucket.READY: "green",
    Bucket.MAKING: "azure",
    Bucket.LEASED: "blue",
    Bucket.STALE: "yellow",
    Bucket.OLD: "yellow",
    Bucket.BROKEN: "red",
    Bucket.LEAVING: "secondary",
    "Pending": "secondary",
    "Running": "azure",
    "Succeeded": "green",
    "Interrupted": "yellow",
    "create": "green",
    "change": "azure",
    "delete": "red",
}
"""Tabler's colour for a phase, a verdict or another state; never the only thing that tells it."""


def span(length: timedelta) -> str:
    """A duration in its largest unit, and the next one where that tells something: `3 d`, `1 h 20 min`."""
    left = max(int(length.total_seconds()), 0)
    for (unit, size), (smaller, its_size) in _UNITS:
        if left >= size:
            rest = left % size // its_size
            is_coarse = left >= 10 * size or unit == "min"
            return f"{left // size} {unit}" if is_coarse or not rest else f"{left // size} {unit} {rest} {smaller}"
    return f"{left} s"


def seconds(length_s: float) -> str:
    """A duration that is given in seconds."""
    return span(timedelta(seconds=length_s))


def ago(moment: datetime, now: datetime) -> str:
    """How long ago: `just now`, `5 min ago`."""
    passed = now - moment
    return "just now" if passed < timedelta(seconds=10) else f"{span(passed)} ago"


def left(moment: datetime, now: datetime) -> str:
    """How long until then: `5 min left`, `over`."""
    return f"{span(moment - now)} left" if moment > now else "over"


def exactly(moment: datetime) -> str:
    """A moment in UTC to the second, for those who point at it."""
    return f"{str(moment)[: len('2026-01-01 00:00:00')]} UTC"  # a list has thousands, and a format takes longer


def colour(state: str | None) -> str:
    """The colour of a state; that of what is not known, for others."""
    return COLOURS.get(state or "", "secondary")


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`, `1,019 nodes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
