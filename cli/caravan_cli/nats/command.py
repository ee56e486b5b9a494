"""`caravan nats`: give every team on record an account on the NATS server, for those who run Caravan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli.errors import UsageProblem
from caravan_cli.nats import accounts
from caravan_cli.nats.credentials import Credentials, Password
from caravan_cli.nats.folder import ACCOUNTS, PASSWORDS, give, kept
from caravan_cli.outcome import tell
from caravan_cli.session import client

# nats-server (2.15.1) makes the imports of an account that came by a reload work at the reload after that.
_RELOAD = "nats-server --signal reload && nats-server --signal reload"

app = typer.Typer(no_args_is_help=True, help="The NATS server: an account of its own for every team.")


@app.callback()
def nats() -> None:
    """Keep `accounts` a command of its own."""


@app.command("accounts")
def write_accounts(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Option("--dir", help="Where both files are kept; a private place, and always the same one.")
    ] = Path("nats"),
    rotate: Annotated[
        list[str] | None, typer.Option(metavar="TEAM", help="Give this team a new password. May be repeated.")
    ] = None,
) -> None:
    """Write the accounts of Caravan and of all teams for nats-server to include, and everybody's password.

    Passwords are made once: run it again whenever teams come or go. A team that went loses its account and password.

    Have nats-server reload its configuration twice afterwards: it joins an account that a reload brought to ours only
    at the next one.

    Examples:

      caravan nats accounts --dir /etc/caravan/nats

      caravan nats accounts --dir /etc/caravan/nats --rotate payments
    """
    with client(ctx) as api:
        teams = {str(team["name"]) for team in api.teams()}
    if strangers := sorted(set(rotate or ()) - teams):
        raise UsageProblem(f"There is no team {', '.join(strangers)} to rotate the password of.")
    before = kept(folder)
    _say(folder, before.teams if before else {}, give(folder, teams, rotate or ()))


def _say(folder: Path, before: Mapping[str, Password], after: Credentials) -> None:
    for name, password in after.teams.items():
        if before.get(name) != password:
            tell(f"{'New password' if name in before else 'New account'}: {name}")
    for name in sorted(set(before) - set(after.teams)):
        tell(f"Removed: {name}, which is no team any more")
    tell(f"Passwords are in {folder / PASSWORDS}: the services' own goes into CARAVAN_NATS_URL, for {accounts.OURS}.")
    tell(f'Have nats-server\'s configuration say: include "{ACCOUNTS}"  (a path from its own folder)')
    tell(f"Then, and after each change: {_RELOAD}")
    typer.echo(folder / ACCOUNTS)
