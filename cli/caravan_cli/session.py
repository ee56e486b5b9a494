"""What a command gets from the words before it: the target that flags, environment and files add up to, as a client."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx
import typer

from caravan_cli.client import Client
from caravan_cli.context import Target, find_target


@dataclass(frozen=True)
class Session:
    """The global flags. `transport` stands in for the network where a test drives the commands."""

    url: str | None = None
    token: str | None = None
    team: str | None = None
    transport: httpx.BaseTransport | None = None

    def target(self) -> Target:
        """The API, and who is asking. UsageProblem on a broken file."""
        return find_target(url=self.url, token=self.token, team=self.team, env=os.environ, home=Path.home())

    def client(self) -> Client:
        """A client for the target; to be closed by its `with`."""
        return Client(self.target(), transport=self.transport)


def client(ctx: typer.Context) -> Client:
    """The client that a command talks through."""
    session = ctx.ensure_object(Session)
    return session.client()
