"""Put answers on the screen: aligned tables, names, YAML and JSON. Text of the API is data, never markup."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO, TypeVar

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caravan_cli.views import Cluster, Node, Run, TimelineEntry
from caravan_shared.contracts.states import ClusterPhase, Verdict

LEAST_WIDTH = 9  # columns; keeps the rows of `--watch`, printed one by one, mostly aligned
GAP = "   "


class Output(StrEnum):
    """The forms of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    YAML = "yaml"
    JSON = "json"


Cell = str | Text
Row = Sequence[Cell]
T = TypeVar("T")

_PHASE_STYLES = {
    ClusterPhase.READY: "green",
    ClusterPhase.HIBERNATED: "blue",
    ClusterPhase.FAILED: "bold red",
    ClusterPhase.DELETING: "yellow",
    ClusterPhase.DELETED: "dim",
}
_VERDICT_STYLES: dict[str, str] = {
    Verdict.HEALTHY: "green",
    Verdict.DEGRADED: "yellow",
    Verdict.UNREACHABLE: "bold red",
}


def stdout() -> Console:
    """The console that answers go to."""
    return _console(sys.stdout)


def stderr() -> Console:
    """The console that errors and progress go to."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    return Console(file=file, highlight=False, markup=False, emoji=False)


def say(console: Console, text: str, style: str = "") -> None:
    """Print lines of text, never cut or broken to the width."""
    console.print(Text(visible(text), style=style), soft_wrap=True)


def visible(text: str) -> str:
    """The text with control characters shown as escapes, so that foreign text cannot steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def document(value: Any, form: Output) -> None:
    """Print models or JSON values as one YAML or JSON document, every field included."""
    plain = _plain(value)
    if form is Output.JSON:
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def table(console: Console, heads: Sequence[str], rows: Sequence[Row], *, show_heads: bool = True) -> None:
    """Print aligned columns, as kubectl does."""
    if console.is_terminal:
        console.print(_grid(heads, rows, show_heads=show_heads))
        return
    lines = [list(heads)] * show_heads + [[str(cell) for cell in row] for row in rows]
    widths = [max([LEAST_WIDTH, *map(len, column)]) for column in zip(*lines, strict=True)]
    for line in lines:
        say(console, GAP.join(map(str.ljust, line, widths)).rstrip())


def listing(
    found: Sequence[T],
    form: Output,
    heads: Sequence[str],
    row: Callable[[T], Row],
    *,
    name: Callable[[T], str] | None = None,
) -> None:
    """Print many things in the form asked for: as a document, by what `name` calls each, or as a table.

    Things that have no name are a table where names are asked for.
    """
    if form in {Output.JSON, Output.YAML}:
        document(found, form)
    elif form is Output.NAME and name:
        sys.stdout.write("".join(f"{name(each)}\n" for each in found))
    else:
        table(stdout(), heads, [row(each) for each in found])


def _grid(heads: Sequence[str], rows: Sequence[Row], *, show_heads: bool) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold", show_header=show_heads)
    for head in heads:
        grid.add_column(head, no_wrap=True, overflow="ellipsis", min_width=LEAST_WIDTH)
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    return grid


CLUSTER_HEADS = ("NAME", "PHASE", "HEALTH", "VERSION", "NODES", "CLOUD", "AGE")
CLUSTER_HEADS_WIDE = (*CLUSTER_HEADS, "TEAM", "ENDPOINT", "CREATED BY", "STEP")


def cluster_row(cluster: Cluster, now: datetime, *, wide: bool) -> Row:
    """A cluster as a line of `cluster list`."""
    row: tuple[Cell, ...] = (
        cluster.name,
        phase_text(cluster),
        verdict_text(cluster.health.verdict if cluster.health else None),
        cluster.version or "-",
        f"{cluster.nodes.ready}/{cluster.nodes.wanted}",
        cloud_text(cluster),
        age(cluster.created_at, now),
    )
    if not wide:
        return row
    endpoint = f"{cluster.endpoint.host}:{cluster.endpoint.port}" if cluster.endpoint else "-"
    return (*row, cluster.team, endpoint, cluster.created_by or "-", cluster.step.text if cluster.step else "-")


RUN_HEADS = ("RUN", "PLAY", "STATE", "NODES", "AGE", "TOOK", "REASON")


def run_row(run: Run) -> Row:
    """A run as a line of `cluster runs`."""
    took = age(run.started_at, run.ended_at) if run.started_at else "-"
    told = run.failure or (run.step if run.ended_at is None else None) or ""
    return run.run_id, run.play, run.state, str(run.node_count), age(run.created_at), took, told


NODE_HEADS = ("NAME", "SET", "ROLE", "STATE", "HEALTH", "VERSION", "ADDRESS", "REASON")


def node_row(node: Node) -> Row:
    """A node as a line of `cluster nodes`."""
    reason = (
        node.reason
        or node.held
        or (node.health.reason if node.health and node.health.verdict != Verdict.HEALTHY else "")
    )
    health = verdict_text(node.health.verdict if node.health else None)
    return (
        node.name,
        node.node_set,
        node.role,
        node.state,
        health,
        node.version or "-",
        node.address or "-",
        reason,
    )


def phase_text(cluster: Cluster) -> Text:
    """A cluster's phase in its colour, and that it is paused where it is."""
    phase = Text(cluster.phase, style=_PHASE_STYLES.get(cluster.phase, "cyan"))
    return Text.assemble(phase, (", Paused", "yellow")) if cluster.paused else phase


def verdict_text(verdict: str | None) -> Text:
    """A verdict in its colour; Unknown where there is none yet."""
    return Text(verdict or Verdict.UNKNOWN, style=_VERDICT_STYLES.get(verdict or "", "dim"))


def cloud_text(cluster: Cluster) -> str:
    """The cluster's cloud, and that it is simulated where it is."""
    return f"{cluster.spec.get('cloud', '-')}{' (simulated)' if cluster.simulated else ''}"


def timeline_line(entry: TimelineEntry) -> str:
    """One line of a timeline, in local time."""
    return f"{entry.at.astimezone():%H:%M:%S}  {entry.source:<13} {entry.text}"


def age(since: datetime, now: datetime | None = None) -> str:
    """How long ago, in one or two units: `42s`, `5m10s`, `3h20m`, `12d`."""
    seconds = max(0, int(((now or datetime.now(UTC)) - since).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 60:
        return f"{minutes}m{seconds % 60}s"
    if hours < 48:
        return f"{hours}h{minutes % 60}m"
    return f"{days}d"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
