"""`caravan cluster replace-node`, `pause`, `repair` and others: what keeps a cluster going, its size unchanged."""

from typing import Annotated

import typer

from caravan_cli import durations, options, specs
from caravan_cli.client import Json
from caravan_cli.errors import UsageProblem
from caravan_cli.outcome import settle, show, tell
from caravan_cli.render import Output
from caravan_cli.session import client
from caravan_cli.views import Cluster
from caravan_shared.contracts.spec import RepairMode

FOREVER = "forever"


def replace_node(
    ctx: typer.Context,
    name: options.Name,
    node: Annotated[str, typer.Argument(help="The node's name; see `caravan cluster nodes`.", show_default=False)],
    reason: Annotated[str | None, typer.Option(help="Why, for the cluster's timeline.")] = None,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Ask for another node in the place of one.

    A node that runs leaves once its successor has joined; a dead one leaves first. Control planes and etcd nodes are
    replaced one at a time, and never at the price of etcd's quorum.

    Example:

      caravan cluster replace-node demo demo-workers-k3x9-1 --reason "its disk is slow" --wait
    """
    with client(ctx) as api:
        cluster = api.replace_node(name, node, reason)
        tell(f"Node {node} of cluster {cluster.name} shall be replaced.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def lifetime(
    ctx: typer.Context,
    name: options.Name,
    lasts: Annotated[str, typer.Argument(metavar="DURATION|forever", help="From now on: 90m, 8h, 2d.")],
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Say how long a cluster lives from now on; then it is deleted. A timeline and an event warn before the end.

    Examples:

      caravan cluster lifetime demo 8h

      caravan cluster lifetime demo forever
    """
    lifetime_s = None if lasts == FOREVER else durations.parse(lasts)
    with client(ctx) as api:
        cluster = api.limit_lifetime(name, lifetime_s)
    tell(f"Cluster {cluster.name} {f'is deleted at {cluster.expires_at}' if cluster.expires_at else 'stays'}.")
    show(cluster, output)


def pause(ctx: typer.Context, name: options.Name, output: options.OutputForm = Output.TABLE) -> None:
    """Have nothing done for a cluster until it is resumed; what is under way comes to its end.

    Example:

      caravan cluster pause demo
    """
    cluster = _changed(ctx, name, {"paused": True})
    tell(f"Cluster {cluster.name} is paused. Go on with: caravan cluster resume {cluster.name}")
    show(cluster, output)


def resume(
    ctx: typer.Context,
    name: options.Name,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Go on with a paused cluster.

    Example:

      caravan cluster resume demo --wait
    """
    with client(ctx) as api:
        cluster = api.change(name, {"paused": False}, etag=api.cluster(name).etag)
        tell(f"Cluster {cluster.name} is resumed.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def repair(
    ctx: typer.Context,
    name: options.Name,
    mode: Annotated[RepairMode, typer.Argument(help="Whether silent nodes are repaired.", show_default=False)],
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Have nodes that health finds Unreachable rebooted and replaced by themselves, or left as they are.

    Example:

      caravan cluster repair demo off
    """
    cluster = _changed(ctx, name, {"repair": mode.value})
    tell(f"Repair of nodes of cluster {cluster.name} is {mode.value}.")
    show(cluster, output)


def drain(
    ctx: typer.Context,
    name: options.Name,
    drain_timeout: options.DrainTimeout = None,
    force_drain: options.ForceDrain = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Say how nodes of a cluster are emptied before they leave or are upgraded, those on their way out included.

    Example:

      caravan cluster drain demo --drain-timeout 60 --force-drain
    """
    how = specs.drain(drain_timeout, force_drain)
    if not how:
        raise UsageProblem("How? Give --drain-timeout, --force-drain or --no-force-drain.")
    cluster = _changed(ctx, name, {"drain": how})
    tell(f"Nodes of cluster {cluster.name} are emptied like that from now on.")
    show(cluster, output)


def _changed(ctx: typer.Context, name: str, patch: Json) -> Cluster:
    with client(ctx) as api:
        return api.change(name, patch, etag=api.cluster(name).etag)
