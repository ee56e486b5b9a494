"""Where accounts on a NATS server are kept: what the server's configuration includes, and everybody's password."""

from collections.abc import Collection
from pathlib import Path

from caravan_cli.errors import UsageProblem
from caravan_cli.nats import accounts
from caravan_cli.nats.credentials import Credentials, load, save
from caravan_cli.private_files import write_private

ACCOUNTS, PASSWORDS = "accounts.conf", "credentials.yaml"

_HEAD = "# Written by caravan, anew whenever teams come or go.\n"


def kept(folder: Path) -> Credentials | None:
    """Everybody's password; None before the first were made. UsageProblem where the file is broken."""
    return load(folder / PASSWORDS)


def give(folder: Path, teams: Collection[str], rotate: Collection[str] = ()) -> Credentials:
    """Have an account for Caravan and for each of these teams, and for no other. Passwords are made once.

    `rotate`: teams that get a new one. UsageProblem where the folder cannot be made or a file is broken.
    """
    _make(folder)
    given = (kept(folder) or Credentials.new()).for_teams(teams, rotate)
    save(folder / PASSWORDS, given)  # first: a password that the server knows must not be lost
    hashes = {name: password.bcrypt for name, password in given.teams.items()}
    write_private(folder / ACCOUNTS, _HEAD + accounts.render(given.ours.bcrypt, given.system.bcrypt, hashes))
    return given


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageProblem(f"{folder} cannot be made: {error.strerror}.") from error
