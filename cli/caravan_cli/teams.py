"""`caravan team`: the tenants, and how much each may have."""

from operator import itemgetter
from typing import Annotated, Any

import typer

from caravan_cli import options
from caravan_cli.errors import UsageProblem
from caravan_cli.outcome import done, tell
from caravan_cli.render import Output, Row, document, listing, stdout, table
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Teams, and how many clusters, nodes and leases each may have.")

Name = Annotated[str, typer.Argument(help="The team's name.", show_default=False)]
_QUOTA = ("clusters", "nodes", "leases")
_NO_LIMIT = "none"


def _limit(text: str) -> int | None:
    if text == _NO_LIMIT:
        return None
    if not text.isascii() or not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a whole number nor `{_NO_LIMIT}`")
    return int(text)


def _option(what: str) -> Any:
    return typer.Option(f"--max-{what}", help=f"Most {what} of the team; `{_NO_LIMIT}` lifts the limit.")


Clusters = Annotated[str | None, _option("clusters")]
Nodes = Annotated[str | None, _option("nodes")]
Leases = Annotated[str | None, _option("leases")]


@app.command()
def create(
    ctx: typer.Context,
    name: Name,
    max_clusters: Clusters = None,
    max_nodes: Nodes = None,
    max_leases: Leases = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Make a team. Then add its members with `caravan --team NAME member add`.

    Examples:

      caravan team create payments --max-nodes 200
    """
    with client(ctx) as api:
        made = api.create_team(name, _quota(max_clusters, max_nodes, max_leases))
    done(made, output, f"The team {name} is there.")


@app.command("list")
def list_teams(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the teams that you belong to; for an admin, all."""
    with client(ctx) as api:
        found = api.teams()
    heads = ("NAME", *(f"MAX {what.upper()}" for what in _QUOTA))
    listing(found, output, heads, _row, name=itemgetter("name"))


@app.command()
def get(ctx: typer.Context, name: Name, output: options.OutputForm = Output.TABLE) -> None:
    """Show what a team has, and may have."""
    with client(ctx) as api:
        found = api.team(name)
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    rows = [(what, str(found["used"][what]), _shown(found[f"max_{what}"])) for what in _QUOTA]
    table(stdout(), ("OF", "USED", "AT MOST"), rows)


@app.command()
def quota(
    ctx: typer.Context,
    name: Name,
    max_clusters: Clusters = None,
    max_nodes: Nodes = None,
    max_leases: Leases = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Change how much a team may have. What it has beyond a smaller quota stays; it gets no more."""
    wanted = _quota(max_clusters, max_nodes, max_leases)
    if not wanted:
        raise UsageProblem("Say what changes: --max-clusters, --max-nodes or --max-leases.")
    with client(ctx) as api:
        changed = api.change_team(name, wanted)
    done(changed, output, f"The quota of the team {name} is changed.")


@app.command()
def delete(ctx: typer.Context, name: Name) -> None:
    """Dissolve a team that has nothing any more. Its members' tokens for it open nothing from then on."""
    with client(ctx) as api:
        api.delete_team(name)
    tell(f"The team {name} is dissolved.")


def _quota(clusters: str | None, nodes: str | None, leases: str | None) -> dict[str, int | None]:
    said = {"max_clusters": clusters, "max_nodes": nodes, "max_leases": leases}
    return {name: _limit(text) for name, text in said.items() if text is not None}


def _row(team: dict[str, Any]) -> Row:
    return team["name"], *(_shown(team[f"max_{what}"]) for what in _QUOTA)


def _shown(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)
