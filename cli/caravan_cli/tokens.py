"""`caravan token`: who may use the API, for those who run Caravan."""

from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import Annotated, Any

import typer

from caravan_cli import durations, options
from caravan_cli.members import ROLES, Role
from caravan_cli.outcome import tell
from caravan_cli.render import Output, Row, age, document, listing
from caravan_cli.session import client


class Scope(StrEnum):
    """What a token may be limited to."""

    CLUSTERS = "clusters"
    ACCESS = "access"
    POOLS = "pools"
    LEASES = "leases"
    MACHINES = "machines"
    TEAMS = "teams"


app = typer.Typer(no_args_is_help=True, help="Bearer tokens: give people and jobs theirs, and take them back.")


@app.command()
def create(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Argument(help="Whom it is for. Default: yourself.", show_default=False)] = None,
    team: Annotated[str | None, typer.Option(help="Whose clusters, pools and leases it opens. Default: yours.")] = None,
    role: Annotated[Role, typer.Option(help=ROLES)] = Role.DEVELOPER,
    scopes: Annotated[
        list[Scope] | None, typer.Option("--scope", help="Limit it to an area of the API. Repeat it for several.")
    ] = None,
    lasts_s: Annotated[
        int | None, durations.option("--expires", "Have it be void after so long. Default: it never is.")
    ] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Make a token and print it: it is shown this once.

    Who is not in the team yet is added to it, if you may do that.

    Examples:

      caravan token create alice --expires 90d

      caravan token create service:builds/ci --team builds --scope leases --scope access > token
    """
    wish = {"role": role.value, "scopes": [scope.value for scope in scopes or ()], "lasts_s": lasts_s}
    with client(ctx) as api:
        issued = api.issue_token({**wish, "user": user} if user else wish, team)
    if output in {Output.JSON, Output.YAML}:
        document(issued, output)
        return
    until = f"until {issued['expires_at']}" if issued["expires_at"] else "until it is revoked"
    limits = f", for {', '.join(issued['scopes'])} only" if issued["scopes"] else ""
    tell(f"A {issued['role']} of the team {issued['team']} is {issued['user']} {until}{limits}. This is shown once:")
    typer.echo(issued["token"])


@app.command("list")
def list_tokens(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the tokens that were not revoked, and when each was last used."""
    with client(ctx) as api:
        found = api.tokens()
    heads = ("ID", "USER", "TEAM", "ROLE", "SCOPES", "EXPIRES", "LAST USED")
    listing(found, output, heads, _row, name=itemgetter("id"))


@app.command()
def revoke(
    ctx: typer.Context, token: Annotated[str, typer.Argument(metavar="ID", help="See `caravan token list`.")]
) -> None:
    """Make a token void at once."""
    with client(ctx) as api:
        api.revoke_token(token)
    tell(f"Token {token} opens nothing any more.")


def _row(token: dict[str, Any]) -> Row:
    return (
        token["id"],
        token["user"],
        token["team"],
        token["role"],
        ",".join(token["scopes"]) or "all",
        token["expires_at"] or "never",
        age(datetime.fromisoformat(token["last_used_at"])) if token["last_used_at"] else "never",
    )
