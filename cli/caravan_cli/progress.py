"""Show how a cluster comes along: bars and the current step on a terminal, plain lines everywhere else."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from caravan_cli.render import phase_text, say, visible
from caravan_cli.views import Cluster, NodeSet, TimelineEntry
from caravan_shared.contracts.spec import Role

BAR_WIDTH = 32


class Progress(Protocol):
    """Is told what is so and what happened, and shows it for as long as its `with` lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def now(self, cluster: Cluster) -> None:
        """The cluster is like this now."""

    def happened(self, entry: TimelineEntry) -> None:
        """This was added to its timeline."""


def progress_on(console: Console) -> Progress:
    """The way of showing progress that fits where the output goes."""
    return Bars(console) if console.is_terminal else Lines(console)


class Bars:
    """One bar a node set and the current step, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._cluster: Cluster | None = None
        self._last: TimelineEntry | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def now(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._draw()

    def happened(self, entry: TimelineEntry) -> None:
        self._last = entry
        self._draw()

    def _draw(self) -> None:
        if self._cluster:
            self._live.update(self._picture(self._cluster))

    def _picture(self, cluster: Cluster) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for node_set in cluster.node_sets:
            done, wanted = node_set.done, max(node_set.wanted, 1)
            grid.add_row(
                Text(f"  {visible(node_set.name)}"),
                ProgressBar(total=wanted, completed=min(done, wanted), width=BAR_WIDTH),
                Text(_counted(node_set)),
            )
        head = Text.assemble(f"{cluster.name}  ", phase_text(cluster))
        return Group(
            head,
            grid,
            Spinner("dots", Text(visible(_current_step(cluster, self._last)), overflow="ellipsis", no_wrap=True)),
        )


class Lines:
    """A line for each change: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: str | None = None
        self._step: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def now(self, cluster: Cluster) -> None:
        sets = ", ".join(f"{node_set.name} {_counted(node_set)}" for node_set in cluster.node_sets)
        line = f"{cluster.name} {cluster.phase}: {sets}"
        if line != self._said:
            self._said = line
            self._say(line)
        if cluster.step and cluster.step.text != self._step:
            self._step = cluster.step.text
            self._say(f"{cluster.name} step: {cluster.step.text}")

    def happened(self, entry: TimelineEntry) -> None:
        self._say(entry.text)

    def _say(self, text: str) -> None:
        say(self._console, text)


def _counted(node_set: NodeSet) -> str:
    made = f"{node_set.made} made"
    joined = "" if node_set.role == Role.ETCD else f", {node_set.joined} joined"
    leaving = f", {node_set.leaving} leaving" if node_set.leaving else ""
    failed = f", {node_set.failed} failed" if node_set.failed else ""
    return f"{made}{joined} of {node_set.wanted}{leaving}{failed}"


def _current_step(cluster: Cluster, last: TimelineEntry | None) -> str:
    if cluster.step:
        return cluster.step.text
    return last.text if last else "waiting for the first news"
