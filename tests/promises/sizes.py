"""How often each promise is tried: a short form of seconds for every change, and the full count.

A test names its size by the `promises` mark. What each promise means stands in docs/promises.md, under the same words.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One trial of a promise: what is counted, and how much of it."""

    key: str
    """Names the trial in reports, and is part of its seed."""
    promise: str
    unit: str
    short: int
    full: int


DISORDER = "Duplicates and disorder are harmless"
STALE = "A stale worker is powerless"
POISON = "Poison is visible"
RETRY = "A retry over REST is safe"

FACTS_IN_DISORDER = Size("disorder-rows", DISORDER, "facts told", 600, 100_000)
EVENTS_IN_DISORDER = Size("disorder-bus", DISORDER, "events published", 200, 20_000)
PAUSES_BY_THE_CLOCK = Size("stale-clock", STALE, "pauses", 100, 1_000)
PROCESSES_STOPPED = Size("stale-process", STALE, "processes stopped past their lease", 4, 1_000)
POISON_AMONG_GOOD = Size("poison", POISON, "messages, one in eleven of them poison", 330, 11_000)
POISON_NESTED_DEEP = Size("poison-nested", POISON, "message nested ten thousand deep", 1, 1)
REPEATED_REQUESTS = Size("retry-key", RETRY, "operations sent several times at once", 60, 10_000)
LOST_UPDATES = Size("retry-match", RETRY, "races of writers with one ETag", 20, 2_000)
