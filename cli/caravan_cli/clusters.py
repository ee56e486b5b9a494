"""`caravan cluster list`, `get`, `describe`, `nodes` and `events`: what only looks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer

from caravan_cli import options
from caravan_cli.client import Client
from caravan_cli.describe import NODES_SHOWN
from caravan_cli.describe import describe as describe_page
from caravan_cli.errors import NotFound, Unavailable
from caravan_cli.render import (
    CLUSTER_HEADS,
    CLUSTER_HEADS_WIDE,
    NODE_HEADS,
    Output,
    cluster_row,
    document,
    node_row,
    say,
    stderr,
    stdout,
    table,
    timeline_line,
)
from caravan_cli.session import client
from caravan_cli.sse import follow
from caravan_cli.views import Cluster, TimelineEntry
from caravan_shared.contracts.states import ClusterPhase

TIMELINE_TAIL = 15  # entries; what fits below the rest of the page


def list_clusters(
    ctx: typer.Context,
    phase: Annotated[ClusterPhase | None, typer.Option(help="Only clusters in this phase.")] = None,
    health: Annotated[str | None, typer.Option(help="Only clusters of this verdict, such as Healthy.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Only clusters of this Kubernetes version.")] = None,
    cloud: Annotated[str | None, typer.Option(help="Only clusters of this cloud.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Only clusters whose name holds this text.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay, and print each cluster again when it changes.")
    ] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List clusters.

    Examples:

      caravan cluster list --phase Failed -o wide

      caravan cluster list --watch
    """
    asked = {"phase": phase, "health": health, "version": version, "cloud": cloud, "q": query}
    filters = {key: str(value) for key, value in asked.items() if value}
    with client(ctx) as api:
        found = list(api.clusters(filters))
        _print_clusters(found, output)
        if watch:
            for cluster in _changed(api, filters, found):
                _print_clusters([cluster], output, heads=False)


def get(ctx: typer.Context, name: options.Name, output: options.OutputForm = Output.TABLE) -> None:
    """Show one cluster; `-o yaml` and `-o json` show every field.

    Example:

      caravan cluster get demo -o yaml
    """
    with client(ctx) as api:
        cluster = api.cluster(name)
    if output in {Output.JSON, Output.YAML}:
        document(cluster, output)
    else:
        _print_clusters([cluster], output)


def describe(ctx: typer.Context, name: options.Name) -> None:
    """Tell all that is worth knowing about one cluster: sets, nodes, failure, what happened last.

    Example:

      caravan cluster describe demo
    """
    with client(ctx) as api:
        cluster = api.cluster(name)
        nodes = list(islice(api.nodes(cluster.id, {}), NODES_SHOWN))
        timeline = api.timeline(cluster.id, limit=TIMELINE_TAIL)
    describe_page(stdout(), cluster, nodes, timeline, datetime.now(UTC))


def nodes(
    ctx: typer.Context,
    name: options.Name,
    node_set: Annotated[str | None, typer.Option("--set", help="Only nodes of this set.")] = None,
    state: Annotated[str | None, typer.Option(help="Only nodes in this state.")] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List a cluster's nodes.

    Example:

      caravan cluster nodes demo --set workers
    """
    filters = {key: value for key, value in {"node_set": node_set, "state": state}.items() if value}
    with client(ctx) as api:
        found = list(api.nodes(name, filters))
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
    elif output is Output.NAME:
        typer.echo("\n".join(node.name for node in found))
    else:
        table(stdout(), NODE_HEADS, [node_row(node) for node in found])


def events(
    ctx: typer.Context,
    name: options.Name,
    follow_on: Annotated[bool, typer.Option("--follow", help="Stay, and print what happens next.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Past entries to show.")] = 50,
) -> None:
    """Show what happened to a cluster.

    Example:

      caravan cluster events demo --follow
    """
    with client(ctx) as api:
        cluster = api.cluster(name)
        shown = 0
        for entry in api.timeline(cluster.id, limit=limit):
            shown = entry.id
            say(stdout(), timeline_line(entry))
        if follow_on:
            for entry in _happening(api, cluster, shown):
                say(stdout(), timeline_line(entry))


def _print_clusters(clusters: list[Cluster], output: Output, *, heads: bool = True) -> None:
    if output in {Output.JSON, Output.YAML}:
        document(clusters if heads else clusters[0], output)
    elif output is Output.NAME:
        typer.echo("\n".join(cluster.name for cluster in clusters), nl=bool(clusters))
    elif not clusters:
        say(stderr(), "There are no clusters. Ask for one: caravan cluster create demo --wait")
    else:
        wide = output is Output.WIDE
        now = datetime.now(UTC)
        rows = [cluster_row(cluster, now, wide=wide) for cluster in clusters]
        table(stdout(), CLUSTER_HEADS_WIDE if wide else CLUSTER_HEADS, rows, show_heads=heads)


def _changed(api: Client, filters: dict[str, str], shown: list[Cluster]) -> Iterator[Cluster]:
    """Each cluster that the filters let through, when it differs from what was shown of it last."""
    seen: dict[str, dict[str, Any]] = {cluster.id: cluster.model_dump() for cluster in shown}
    for event in follow(api.stream()):
        if event is not None and event.type != "cluster":
            continue
        try:
            # What the filters mean is the API's to say, so it is asked again instead of judging the event here.
            now = list(api.clusters(filters))
        except Unavailable:
            continue
        for cluster in now:
            if seen.get(cluster.id) != cluster.model_dump():
                seen[cluster.id] = cluster.model_dump()
                yield cluster


def _happening(api: Client, cluster: Cluster, shown: int) -> Iterator[TimelineEntry]:
    """Each entry after `shown`, until the cluster is gone."""
    for event in follow(api.stream(cluster.id)):
        if event is None:
            try:
                fresh = api.timeline(cluster.id, limit=500)
            except NotFound:
                return
            except Unavailable:
                continue
        elif event.type == "timeline":
            fresh = (TimelineEntry.model_validate_json(event.data),)
        else:
            continue
        for entry in fresh:
            if entry.id > shown:
                shown = entry.id
                yield entry
