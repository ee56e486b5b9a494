"""A cluster's health and its ready nodes over time, as the columns that a chart draws. Pure.

Verdicts are kept with the cluster; how many nodes were ready was told with each verdict, in the timeline.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from caravan_api.store import TimelineEntry
from caravan_shared.contracts.states import Verdict

LEVELS = {Verdict.UNREACHABLE: 0, Verdict.DEGRADED: 1, Verdict.HEALTHY: 2}
"""How high a verdict is drawn; one that is not known is a gap."""

Columns = tuple[list[float], list[int | None], list[int | None]]


def columns(verdicts: Sequence[Mapping[str, Any]], told: Sequence[TimelineEntry], now: datetime) -> Columns:
    """Moments (seconds since 1970, rising), verdicts' levels and ready nodes; each holds until the next moment.

    `verdicts` hold `verdict` and `since` (ISO 8601); `told` are timeline entries, of which those with `nodes_ready`
    count.
    """
    levels = {datetime.fromisoformat(each["since"]): LEVELS.get(Verdict(each["verdict"])) for each in verdicts}
    ready = {entry.at: int(entry.data["nodes_ready"]) for entry in told if entry.data.get("nodes_ready") is not None}
    moments = sorted({*levels, *ready, now})
    if len(moments) == 1:
        return [], [], []
    return [moment.timestamp() for moment in moments], _held(levels, moments), _held(ready, moments)


def _held(values: Mapping[datetime, int | None], moments: Sequence[datetime]) -> list[int | None]:
    """At each moment the last value that there was."""
    held: list[int | None] = []
    for moment in moments:
        held.append(values[moment] if moment in values else held[-1] if held else None)
    return held
