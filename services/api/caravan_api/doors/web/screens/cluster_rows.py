"""The rows of the list of clusters. Pure.

Written here and not by a template: a page may hold 1,000 of them, and a template that asks a macro for each cell takes
four times as long. And in two steps, so that the first one's result can be kept: a list is drawn anew at every news and
each minute, and most of its clusters are as they were. Whatever somebody chose is escaped; all else is numbers and our
own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from typing import Any, NamedTuple
from uuid import UUID

from markupsafe import Markup

from caravan_api.doors.web.drawing import History, history_of, sparkline
from caravan_api.doors.web.words import ago, colour, exactly, left
from caravan_shared.contracts.states import Verdict


class Shown(NamedTuple):
    """What is read of a cluster, named as its columns: no more than is shown."""

    id: UUID
    name: str
    team: str
    phase: str
    verdict: str | None
    verdicts: Sequence[Mapping[str, Any]]
    version: str
    cloud: str
    nodes_wanted: int
    node_sets: Sequence[Mapping[str, Any]]
    pool_id: UUID | None
    accessed_at: datetime | None
    accessed_by: str | None
    expires_at: datetime | None
    created_at: datetime


class Sketch(NamedTuple):
    """What of a row neither the time nor a lease changes: HTML but for moments and verdicts."""

    link: str
    name: str
    team: str
    is_spare: bool
    phase: str
    history: History
    state: str
    """Health, nodes, version and cloud."""
    access: str
    accessed_at: datetime | None
    expires_at: datetime | None
    created: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """A cluster as the list shows it."""

    sketch: Sketch
    leased_until: datetime | None = None
    holder: str | None = None
    """Who leases it."""


def sketched(cluster: Shown) -> Sketch:
    """A cluster, ready to be drawn."""
    ready, failed = (sum([each.get(name, 0) for each in cluster.node_sets]) for name in ("ready", "failed"))
    trouble = ' class="text-red"' if failed else ""
    return Sketch(
        link=f'<tr id="c-{cluster.id}"><th scope="row"><a href="/clusters/{cluster.id}',
        name=escape(cluster.name),
        team=f"<td>{escape(cluster.team)}",
        is_spare=cluster.pool_id is not None,
        phase=f"<td>{_phase(cluster.phase)}<td>",
        history=history_of(cluster.verdicts),
        state=f"{_health(cluster.verdict)}<td{trouble}>{ready}<i>/{cluster.nodes_wanted}</i>"
        f"<td>{escape(cluster.version)}<td>{escape(cluster.cloud)}<td>",
        access=f"{escape(cluster.accessed_by or '')}<small>{_titled(cluster.accessed_at)}"
        if cluster.accessed_at
        else "<i>nobody yet</i>",
        accessed_at=cluster.accessed_at,
        expires_at=cluster.expires_at,
        created=_titled(cluster.created_at),
        created_at=cluster.created_at,
    )


def drawn(rows: Sequence[Row], now: datetime, query: str, *, with_team: bool) -> Markup:
    """All of them, as table rows; `query` is what the addresses of clusters' pages end with."""
    kept = escape(query)
    return Markup("".join([_row(row, now, kept, with_team) for row in rows]))  # noqa: S704


def _row(row: Row, now: datetime, query: str, with_team: bool) -> str:
    sketch = row.sketch
    access = f"{sketch.access}{ago(sketch.accessed_at, now)}</span></small>" if sketch.accessed_at else sketch.access
    ends_at = min([moment for moment in (sketch.expires_at, row.leased_until) if moment], default=None)
    return (
        f'{sketch.link}{query}">{sketch.name}</a>{_belongs(row)}</th>{sketch.team if with_team else ""}'
        f"{sketch.phase}{sparkline(sketch.history, now)}{sketch.state}{access}"
        f"<td>{left(ends_at, now) if ends_at else ''}<td>{sketch.created}{ago(sketch.created_at, now)}</span></tr>"
    )


def _belongs(row: Row) -> str:
    if row.holder:
        return f"<small>leased to {escape(row.holder)}</small>"
    return "<small>spare</small>" if row.sketch.is_spare else ""


def _titled(at: datetime) -> str:
    """What stands before how long ago a moment is."""
    return f'<span title="{exactly(at)}">'


@cache
def _phase(phase: str) -> str:
    return f'<span class="badge phase status-{colour(phase)}">{escape(phase)}</span>'


@cache
def _health(verdict: str | None) -> str:
    moves = " status-dot-animated" if verdict == Verdict.UNREACHABLE else ""
    return (
        f'<span class="status status-{colour(verdict)}"><span class="status-dot{moves}"></span>'
        f"{escape(verdict or Verdict.UNKNOWN)}</span>"
    )
