"""All that is worth knowing about one cluster, on one page, as `kubectl describe` would put it."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console

from caravan_cli.complain import who_and_whether
from caravan_cli.errors import Problem
from caravan_cli.render import (
    NODE_HEADS,
    Cell,
    age,
    cloud_text,
    node_row,
    phase_text,
    say,
    table,
    timeline_line,
    verdict_text,
)
from caravan_cli.views import Cluster, Node, TimelineEntry

NODES_SHOWN = 20  # of a thousand; `cluster nodes` lists them all


def describe(
    console: Console, cluster: Cluster, nodes: Sequence[Node], timeline: Iterable[TimelineEntry], now: datetime
) -> None:
    """Print the page."""
    table(console, ("FIELD", "VALUE"), [*_facts(cluster, now)])
    if cluster.failure:
        _failure(console, cluster)
    _heading(console, "Node sets")
    table(
        console,
        ("SET", "ROLE", "MACHINE TYPE", "WANTED", "CREATING", "MADE", "JOINED", "LEAVING", "FAILED"),
        [
            (s.name, s.role, s.machine_type, *map(str, (s.wanted, s.creating, s.made, s.joined, s.leaving, s.failed)))
            for s in cluster.node_sets
        ],
    )
    _heading(console, "Nodes")
    table(console, NODE_HEADS, [node_row(node) for node in nodes[:NODES_SHOWN]])
    if cluster.nodes.wanted > NODES_SHOWN:
        say(console, f"… all of them: caravan cluster nodes {cluster.name}")
    _heading(console, "What happened last")
    for entry in timeline:
        say(console, timeline_line(entry))


def _facts(cluster: Cluster, now: datetime) -> Iterable[tuple[Cell, Cell]]:
    yield "Name", cluster.name
    yield "Team", cluster.team
    yield "Id", cluster.id
    yield "Phase", phase_text(cluster)
    if cluster.step:
        yield "Step", cluster.step.text
    if cluster.replacing:
        yield "Replacing", ", ".join(cluster.replacing)
    if cluster.expires_at:
        yield "Lives until", f"{cluster.expires_at:%Y-%m-%d %H:%M} UTC"
    yield "Health", verdict_text(cluster.health.verdict if cluster.health else None)
    if cluster.health and cluster.health.reason:
        yield "", cluster.health.reason
    yield "Version", _version(cluster)
    yield "Cloud", cloud_text(cluster)
    if cluster.endpoint:
        yield "Endpoint", f"https://{cluster.endpoint.host}:{cluster.endpoint.port}"
        if cluster.endpoint.virtual_ip:
            yield "Virtual IP", cluster.endpoint.virtual_ip
        yield "Addresses", ", ".join(cluster.endpoint.addresses) or "none yet"
    yield "Generation", str(cluster.generation)
    if cluster.trace:
        yield "Trace", cluster.trace.url or cluster.trace.id
    yield "Created", f"{age(cluster.created_at, now)} ago by {cluster.created_by or 'someone'}"


def _version(cluster: Cluster) -> str:
    wanted = cluster.spec.get("version", "-")
    if cluster.version in {None, wanted}:
        return str(wanted) if cluster.version else f"{wanted} wanted, nothing runs yet"
    return f"{cluster.version} runs, {wanted} wanted"


def _failure(console: Console, cluster: Cluster) -> None:
    assert cluster.failure is not None
    _heading(console, "Failure", "bold red")
    say(console, cluster.failure.reason)
    problem = Problem(who_can_fix=cluster.failure.who_can_fix, retry_helps=cluster.failure.retry_helps)
    for sentence in who_and_whether(problem):
        say(console, sentence)
    say(console, f"When it is mended: caravan cluster retry {cluster.name}")


def _heading(console: Console, text: str, style: str = "bold") -> None:
    console.print()
    say(console, text, style=style)
