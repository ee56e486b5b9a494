"""The rows of the list of clusters. Pure.

Written here and not by a template: a page may hold 1,000 of them, and a template that asks a macro for each cell takes
four times as long. Whatever somebody chose is escaped; all else is numbers and our own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from typing import Any, NamedTuple
from uuid import UUID

from markupsafe import Markup

from caravan_api.doors.web.drawing import sparkline
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


@dataclass(frozen=True, slots=True)
class Row:
    """A cluster as the list shows it."""

    cluster: Shown
    ready: int
    failed: int
    ends_at: datetime | None
    """When it ends: its lease's end, or its own."""
    holder: str | None
    """Who leases it."""


def drawn(rows: Sequence[Row], now: datetime, query: str, *, with_team: bool) -> Markup:
    """All of them, as table rows; `query` is what the addresses of clusters' pages end with."""
    kept = escape(query)
    return Markup("".join([_row(row, now, kept, with_team) for row in rows]))  # noqa: S704


def _row(row: Row, now: datetime, query: str, with_team: bool) -> str:
    cluster = row.cluster
    team = f"<td>{escape(cluster.team)}" if with_team else ""
    trouble = ' class="text-red"' if row.failed else ""
    ends = left(row.ends_at, now) if row.ends_at else ""
    return (
        f'<tr id="c-{cluster.id}"><th scope="row"><a href="/clusters/{cluster.id}{query}">{escape(cluster.name)}</a>'
        f"{_belongs(row)}</th>{team}"
        f"<td>{_phase(cluster.phase)}<td>{sparkline(cluster.verdicts, now)}{_health(cluster.verdict)}"
        f"<td{trouble}>{row.ready}<i>/{cluster.nodes_wanted}</i><td>{escape(cluster.version)}"
        f"<td>{escape(cluster.cloud)}<td>{_access(cluster, now)}<td>{ends}<td>{_moment(cluster.created_at, now)}</tr>"
    )


def _belongs(row: Row) -> str:
    if row.holder:
        return f"<small>leased to {escape(row.holder)}</small>"
    return "<small>spare</small>" if row.cluster.pool_id else ""


def _access(cluster: Shown, now: datetime) -> str:
    if cluster.accessed_at is None:
        return "<i>nobody yet</i>"
    return f"{escape(cluster.accessed_by or '')}<small>{_moment(cluster.accessed_at, now)}</small>"


def _moment(at: datetime, now: datetime) -> str:
    return f'<span title="{exactly(at)}">{ago(at, now)}</span>'


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
