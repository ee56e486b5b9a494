"""`caravan grants`: who holds a kubeconfig, and taking one or all of a person back."""

from datetime import datetime
from operator import attrgetter
from typing import Annotated
from uuid import UUID

import typer

from caravan_cli import options
from caravan_cli.client import Client
from caravan_cli.errors import NotFound, TimedOut, UsageProblem
from caravan_cli.outcome import tell
from caravan_cli.render import Output, Row, document, listing
from caravan_cli.session import client
from caravan_cli.views import Grant, RevokedAccess

app = typer.Typer(no_args_is_help=True, help="Access that people were granted to clusters: see it, take it back.")


@app.command("list")
def list_grants(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Option(help="One person's.")] = None,
    still_open: Annotated[bool, typer.Option("--open", help="Only what still opens its cluster.")] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List the kubeconfigs that were issued, the newest first.

    Examples:

      caravan grants list --open

      caravan grants list --user alice -o json
    """
    with client(ctx) as api:
        found = [grant for grant in api.grants(user) if grant.is_open or not still_open]
    heads = ("ID", "USER", "ROLE", "TEAM", "CLUSTER", "ISSUED", "STATE")
    listing(found, output, heads, _row, name=attrgetter("grant_id"))


@app.command()
def revoke(
    ctx: typer.Context,
    user: Annotated[
        str | None, typer.Argument(help="Whose: all that they hold on your team's clusters.", show_default=False)
    ] = None,
    grant: Annotated[UUID | None, typer.Option(metavar="ID", help="This one alone; see `caravan grants list`.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Take access back: what is revoked opens nothing from then on. Asking again is fine.

    Whoever shall get no new access loses their tokens first: see `caravan token list`.

    Examples:

      caravan grants revoke alice

      caravan grants revoke --grant 0190f6f0-5b7c-7000-8000-000000000001 --yes
    """
    with client(ctx) as api:
        if user and not grant:
            _revoke_all(api, user, output, yes=yes)
        elif grant and not user:
            _revoke_one(api, str(grant), yes=yes)
        else:
            raise UsageProblem("Whose access? Give a USER, or one grant with --grant ID.")


def _revoke_all(api: Client, user: str, output: Output, *, yes: bool) -> None:
    if not yes:
        where = f"of team {api.target.team}" if api.target.team else "that you may revoke it on"
        typer.confirm(f"Revoke all access of {user} to the clusters {where}?", abort=True)
    told = api.revoke_all(user)
    if output in {Output.JSON, Output.YAML}:
        document(told, output)
    else:
        _tell(told)
    if told.pending:
        raise TimedOut(f"{len(told.pending)} of them are not void yet; they will be as soon as that is possible.")


def _tell(told: RevokedAccess) -> None:
    for grant in told.revoked:
        tell(f"Revoked: {grant.role} of {grant.cluster} ({grant.grant_id}).")
    for grant in told.pending:
        tell(f"Pending: {grant.role} of {grant.cluster} ({grant.grant_id}): {grant.reason}.")
    if told.more:
        tell(f"So were {told.more} more.")
    if not (told.revoked or told.pending):
        tell(f"{told.user} holds nothing there.")
    if told.tokens:
        tell(f"{told.user} can ask for access again, with {told.tokens} valid token(s): see `caravan token list`.")


def _revoke_one(api: Client, grant_id: str, *, yes: bool) -> None:
    found = next((grant for grant in api.grants(None) if grant.grant_id == grant_id), None)
    if found is None:
        raise NotFound(f"There is no grant {grant_id} on a cluster of your team.")
    if not yes:
        typer.confirm(f"Revoke {found.user}'s access to {found.cluster} of team {found.team}?", abort=True)
    api.revoke_grant(found.cluster_id, grant_id)
    tell(f"Grant {grant_id} opens nothing any more.")


def _row(grant: Grant) -> Row:
    return (
        grant.grant_id,
        grant.user,
        grant.role or "-",
        grant.team,
        grant.cluster,
        _moment(grant.issued_at),
        _state(grant),
    )


def _state(grant: Grant) -> str:
    if grant.is_open:
        return f"open until {_moment(grant.expires_at)}"
    return f"revoked {_moment(grant.revoked_at)}" if grant.revoked_at else "over"


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else "-"
