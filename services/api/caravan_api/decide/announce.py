"""Decide when a cluster's desired state is said again. Pure.

Events can be lost with a broker's disk; telling again heals it. While facts keep coming nothing is lost, so only
silence counts, and the pause doubles so that a cluster that nobody can help does not load every service.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long to wait before telling again, in seconds; see the settings of the same names."""

    after_s: float
    at_most_s: float
    settled_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """How long it has been quiet about a cluster."""

    announced_at: datetime
    heard_at: datetime | None
    unanswered: int
    """How many times it was announced since anything was heard."""


def announce_at(silence: Silence, pauses: Pauses, *, settled: bool) -> datetime:
    """When the next announcement is due if nothing is heard until then."""
    if settled:
        return silence.announced_at + timedelta(seconds=pauses.settled_s)
    # The exponent is capped: 2**20 pauses of a second are longer than anyone waits, and floats stay finite.
    pause_s = min(pauses.after_s * 2 ** min(silence.unanswered, 20), pauses.at_most_s)
    last = max(moment for moment in (silence.announced_at, silence.heard_at) if moment)
    return last + timedelta(seconds=pause_s)
