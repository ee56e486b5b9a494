"""Decide what a team's chat is told, when, and in how many messages. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

_LONGEST_PAUSE_S = 600.0
_MOST_DOUBLINGS = 10
_MOST_NAMED = 10


class Occasion(StrEnum):
    """What a team may have told."""

    LEASE_GRANTED = "lease-granted"
    """Somebody got a cluster of a pool."""
    LEASE_ENDING = "lease-ending"
    """A lease ends soon, and its cluster with it."""
    CLUSTER_FAILED = "cluster-failed"
    """A cluster did not come to be, or could not be changed."""
    CLUSTER_UNHEALTHY = "cluster-unhealthy"
    """A cluster became Degraded or Unreachable."""
    CLUSTER_EXPIRING = "cluster-expiring"
    """A cluster is deleted soon, because its lifetime ends."""


_OF_SEVERAL: Mapping[Occasion, str] = {
    Occasion.LEASE_GRANTED: "leases granted",
    Occasion.LEASE_ENDING: "leases end soon",
    Occasion.CLUSTER_FAILED: "clusters failed",
    Occasion.CLUSTER_UNHEALTHY: "clusters unhealthy",
    Occasion.CLUSTER_EXPIRING: "clusters are deleted soon",
}


@dataclass(frozen=True, slots=True)
class News:
    """One thing to be told: of what (a cluster's name), and in a sentence."""

    id: int
    occasion: Occasion
    about: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one target may be written to: a token bucket of `burst` that gains one every `every_s`."""

    burst: int
    every_s: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A target's tokens as they were at a moment, and until when it asked to be left alone."""

    tokens: float
    at: datetime
    held_until: datetime

    def at_moment(self, now: datetime, pace: Pace) -> "Bucket":
        """The same bucket now."""
        gained = max((now - self.at).total_seconds(), 0.0) / pace.every_s
        return replace(self, tokens=min(self.tokens + gained, float(pace.burst)), at=now)

    def wait_s(self, now: datetime, pace: Pace) -> float:
        """Seconds until a message may go; 0: now."""
        held_s = max((self.held_until - now).total_seconds(), 0.0)
        missing = max(1.0 - self.at_moment(now, pace).tokens, 0.0)
        return max(held_s, missing * pace.every_s)

    def after_one(self, now: datetime, pace: Pace) -> "Bucket":
        """What is left after a message."""
        filled = self.at_moment(now, pace)
        return replace(filled, tokens=filled.tokens - 1.0)


def next_message(pending: Sequence[News], group_s: float, now: datetime) -> tuple[Sequence[News], float]:
    """What goes into the next message, and in how many seconds it is due.

    All of one occasion, that of the oldest, once that is `group_s` old: what happens meanwhile comes along.
    """
    oldest = min(pending, key=lambda news: news.at)
    due_s = (oldest.at + timedelta(seconds=group_s) - now).total_seconds()
    return [news for news in pending if news.occasion is oldest.occasion], max(due_s, 0.0)


def message(group: Sequence[News]) -> str:
    """One thing in its own words, several by their names."""
    by_name = {news.about: news for news in group}  # what happened to one of them twice is told once, the latest
    if len(by_name) == 1:
        return next(iter(by_name.values())).text
    names = list(by_name)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{len(names)} {_OF_SEVERAL[group[0].occasion]}: {', '.join(names[:_MOST_NAMED])}{more}"


def pause_s(tries: int) -> float:
    """Seconds until the next try after so many that failed: 1, 2, 4, … up to ten minutes."""
    return min(_LONGEST_PAUSE_S, 2.0 ** min(max(tries - 1, 0), _MOST_DOUBLINGS))
