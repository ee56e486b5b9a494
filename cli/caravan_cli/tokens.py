"""`caravan token`: who may use the API, for those who run Caravan."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from caravan_cli import durations, options
from caravan_cli.outcome import tell
from caravan_cli.render import Output, age, document, stdout, table
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Bearer tokens: give people and jobs theirs, and take them back.")


class Role(StrEnum):
    """What a token may do; each includes the one before."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    ADMIN = "admin"


@app.command()
def create(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Who it is for; shown wherever it is used.", show_default=False)],
    team: Annotated[str, typer.Option(help="Whose clusters, pools and leases it opens.")] = "default",
    role: Annotated[
        Role, typer.Option(help="viewer reads, developer also changes, admin runs Caravan.")
    ] = Role.DEVELOPER,
    lasts_s: Annotated[
        int | None, durations.option("--expires", "Have it be void after so long. Default: it never is.")
    ] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Make a token and print it: it is shown this once.

    Examples:

      caravan token create alice --expires 90d

      caravan token create ci-runner --team builds --expires 30d > token
    """
    with client(ctx) as api:
        issued = api.issue_token(user, team, role.value, lasts_s)
    if output in {Output.JSON, Output.YAML}:
        document(issued, output)
        return
    until = f"until {issued['expires_at']}" if issued["expires_at"] else "until it is revoked"
    tell(f"A {issued['role']} of the team {issued['team']} is {issued['user']} {until}. This is shown once:")
    typer.echo(issued["token"])


@app.command("list")
def list_tokens(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the tokens that were not revoked, and when each was last used."""
    with client(ctx) as api:
        found = api.tokens()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    if output is Output.NAME:
        typer.echo("\n".join(token["id"] for token in found), nl=bool(found))
        return
    rows = [
        (
            token["id"],
            token["user"],
            token["team"],
            token["role"],
            token["expires_at"] or "never",
            age(datetime.fromisoformat(token["last_used_at"])) if token["last_used_at"] else "never",
        )
        for token in found
    ]
    table(stdout(), ("ID", "USER", "TEAM", "ROLE", "EXPIRES", "LAST USED"), rows)


@app.command()
def revoke(
    ctx: typer.Context, token: Annotated[str, typer.Argument(metavar="ID", help="See `caravan token list`.")]
) -> None:
    """Make a token void at once."""
    with client(ctx) as api:
        api.revoke_token(token)
    tell(f"Token {token} opens nothing any more.")
