"""`caravan audit`: who changed what, and who was let into which cluster."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from caravan_cli import options
from caravan_cli.errors import UsageProblem
from caravan_cli.render import Output, Row, listing
from caravan_cli.session import client

_SHOWN = 100


def audit(
    ctx: typer.Context,
    cluster: Annotated[str | None, typer.Option(help="Of one cluster, by name or id.")] = None,
    actor: Annotated[str | None, typer.Option(help="Of one person, service account or event.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Of one kind: cluster, kubeconfig, pool, lease, token, member, team, machine.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many entries, from the newest on.")] = _SHOWN,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Show who changed what in your team, newest first.

    Examples:

      caravan audit --cluster demo

      caravan audit --kind kubeconfig -o json
    """
    filters = {name: value for name, value in {"actor": actor, "kind": kind}.items() if value}
    if cluster and filters:
        raise UsageProblem("--cluster shows all of one cluster: leave out --actor and --kind.")
    with client(ctx) as api:
        found = list(islice(api.audit(filters, cluster=cluster), limit))
    listing(found, output, ("AT", "WHO", "DOOR", "DID", "KIND", "NAME", "WHAT"), _row)


def _row(entry: dict[str, Any]) -> Row:
    told = ("at", "actor", "door", "action", "kind", "name")
    return *(entry[name] for name in told), _what(entry)


def _what(entry: dict[str, Any]) -> str:
    before, after = entry["before"], entry["after"]
    return "; ".join(_change(name, before.get(name), after.get(name)) for name in _told(before, after))


def _told(before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    """What fits a line: of a spec only that it changed."""
    return [name for name in (after or before) if before.get(name) != after.get(name)]


def _change(name: str, old: object, new: object) -> str:
    if isinstance(old, dict | list) or isinstance(new, dict | list):
        return name
    return f"{name}: {new}" if old is None else f"{name}: {old} → {new}"
