"""The steps of what was asked of a cluster last, and how long each took, from its timeline. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from caravan_api.store import TimelineEntry

_ASKED = frozenset({"requested", "changed", "retry", "replace", "deletion"})
"""Kinds of entries with which something new begins."""
_STEPS = frozenset({"machines", "bootstrap", "joined", "endpoint", "failure", "phase"})
_ENDS = frozenset({"Ready", "Failed", "Deleted"})
"""Phases that end it; the others say only what the steps do."""
_AT_MOST = 60
"""A large cluster joins in many waves: what was before stands among its events."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline, as a step that lasted until the next one."""

    id: int
    text: str
    kind: str
    at: datetime
    lasted: timedelta
    is_running: bool
    begins: float
    """Where in the whole it begins, and how much of it it is: 0 to 1."""
    share: float
    shows_log_of: str | None = None
    """The run whose log belongs here: at its first step, and where it failed."""

    @property
    def is_end(self) -> bool:
        """True for what is reached and lasts no time."""
        return self.kind == "phase" and not self.is_running


def steps_of(newest_first: Sequence[TimelineEntry], now: datetime, *, is_working: bool) -> list[Step]:
    """The steps since something was asked for last, oldest first. While Caravan works, the last one is running."""
    entries = _latest_work(newest_first)[-_AT_MOST:]
    if not entries:
        return []
    origin, end = entries[0].at, now if is_working else entries[-1].at
    whole = max((end - origin).total_seconds(), 0.001)
    moments = [*(entry.at for entry in entries), end]
    logs = _logs(entries)
    return [
        Step(
            entry.id,
            entry.text,
            entry.kind,
            entry.at,
            lasted=until - since,
            is_running=is_working and entry is entries[-1],
            begins=(since - origin).total_seconds() / whole,
            share=(until - since).total_seconds() / whole,
            shows_log_of=logs.get(entry.id),
        )
        for entry, (since, until) in zip(entries, pairwise(moments), strict=True)
    ]


def _logs(entries: Sequence[TimelineEntry]) -> dict[int, str]:
    """Entry → run. The first step stays where it is while further ones come, and so does what somebody reads there."""
    first: dict[str, int] = {}
    for entry in entries:
        if run := entry.data.get("run_id"):
            first.setdefault(run, entry.id)
    failed = {
        entry.id: entry.data["run_id"] for entry in entries if entry.kind == "failure" and entry.data.get("run_id")
    }
    return {entry_id: run for run, entry_id in first.items()} | failed


def _latest_work(newest_first: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    entries: list[TimelineEntry] = []
    for entry in newest_first:
        if entry.kind in _STEPS and (entry.kind != "phase" or entry.data.get("phase") in _ENDS):
            entries.append(entry)
        if entry.kind in _ASKED:
            entries.append(entry)
            break
    return entries[::-1]
