"""The accounts on the stack's nats-server: every team on record has one, made as `caravan nats accounts` makes it.

A team that is made while the stack runs has its account within seconds: the api is asked for its teams, the file that
nats-server's configuration includes is written anew, and nats-server reads it again.
"""

from collections.abc import Callable
from pathlib import Path

from caravan_cli.client import Client
from caravan_cli.context import Target
from caravan_cli.errors import CliError, Unavailable
from caravan_cli.nats.accounts import OURS
from caravan_cli.nats.credentials import Credentials, nats_url
from caravan_cli.nats.folder import ACCOUNTS, PASSWORDS, give, kept
from caravan_cli.up.errors import StackError
from caravan_cli.up.layout import LOOPBACK, TEAM, Layout
from caravan_cli.up.processes import Process
from caravan_cli.up.readiness import is_ready

FOLDER = "accounts"
INCLUDED = f"{FOLDER}/{ACCOUNTS}"
"""What nats-server's configuration includes, from the state directory."""

_RELOADS = 2  # nats-server (2.15.1) makes the imports of an account that came by a reload work at the reload after that


class Accounts:
    """Who may connect to one stack's nats-server. `say` hears of teams that get an account or lose it, or cannot."""

    def __init__(self, state_dir: Path, layout: Layout, say: Callable[[str], None]) -> None:
        self._folder, self._layout, self._say = state_dir / FOLDER, layout, say
        found = kept(self._folder)
        self._credentials = give(self._folder, found.teams if found else [TEAM])
        self._reloads = 0
        self._complained = ""

    @property
    def credentials(self) -> Credentials:
        """Everybody's password."""
        return self._credentials

    @property
    def our_url(self) -> str:
        """Where the services connect, password included."""
        return nats_url(OURS, self._credentials.ours, self._address)

    def team_url(self, team: str) -> str:
        """Where a team asks and is told how far its clusters are, password included. StackError for a stranger."""
        if team not in self._credentials.teams:
            raise StackError(f"The team {team} has no account on the stack's NATS server.")
        return nats_url(team, self._credentials.teams[team], self._address)

    def look(self) -> None:
        """Give accounts to the teams that the api has on record by now."""
        try:
            self._give(self._on_record())
        except Unavailable:
            return  # whoever tends the stack sees to that
        except CliError as error:
            self._complain(f"New teams get no account on the NATS server: {error}")

    def have_read(self, server: Process) -> None:
        """Have nats-server read its configuration again, if that is due; one time a call, so that none is missed.

        One that does not listen yet reads it anyway, and the signal would end it.
        """
        if self._reloads and server.ended() is None and is_ready(server.program):
            server.read_again()
            self._reloads -= 1

    @property
    def _address(self) -> str:
        return f"{LOOPBACK}:{self._layout.ports.nats}"

    def _on_record(self) -> set[str]:
        api = Target(self._layout.api_url, self._layout.api_token, None, "the local stack")
        with Client(api) as client:
            return {str(team["name"]) for team in client.teams()}

    def _give(self, teams: set[str]) -> None:
        before = set(self._credentials.teams)
        if teams == before:
            return
        self._credentials = give(self._folder, teams)
        self._reloads = _RELOADS
        passwords = self._folder / PASSWORDS
        for team in sorted(teams - before):
            self._say(f"The team {team} has an account on the NATS server; its password is in {passwords}")
        for team in sorted(before - teams):
            self._say(f"The team {team} is no more, and its account on the NATS server neither")

    def _complain(self, sentence: str) -> None:
        if sentence != self._complained:
            self._complained = sentence
            self._say(sentence)
