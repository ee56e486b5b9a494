"""Who has which password on the NATS server: made once, kept in a file that only its owner can read.

The server's configuration gets hashes. A password's hash is kept beside it: each hash has a salt of its own, and the
configuration shall not change where nothing has.
"""

import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from caravan_cli.errors import UsageProblem
from caravan_cli.private_files import write_private

_HEAD = "# Passwords of NATS users, made by caravan; whoever reads this can speak as any of them.\n"
_ROUNDS = 6
"""bcrypt's cost. A password has 256 random bits, so no slow hash is needed, and the server hashes at each connect."""


@dataclass(frozen=True)
class Password:
    """One user's password, and its hash for the server."""

    password: str
    bcrypt: str

    @classmethod
    def new(cls) -> "Password":
        """A password that nobody had before."""
        password = secrets.token_urlsafe(32)
        return cls(password, bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode())


@dataclass(frozen=True)
class Credentials:
    """The services' password, the server operator's, and one a team."""

    ours: Password
    system: Password
    teams: dict[str, Password]

    @classmethod
    def new(cls) -> "Credentials":
        """Those of a server without teams."""
        return cls(Password.new(), Password.new(), {})

    def for_teams(self, names: Collection[str], rotate: Collection[str] = ()) -> "Credentials":
        """The same for these teams alone: known ones keep their password unless it is rotated."""
        kept = {name: had for name, had in self.teams.items() if name not in rotate}
        return Credentials(self.ours, self.system, {name: kept.get(name) or Password.new() for name in sorted(names)})


def nats_url(user: str, password: Password, address: str) -> str:
    """Where somebody connects, as `nats://`; `address` is host and port."""
    return f"nats://{user}:{password.password}@{address}"


def load(path: Path) -> Credentials | None:
    """What earlier runs made; None before the first. UsageProblem where the file is broken."""
    try:
        content = yaml.safe_load(path.read_text())
        return Credentials(
            Password(**content["ours"]),
            Password(**content["system"]),
            {str(name): Password(**had) for name, had in content["teams"].items()},
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise UsageProblem(
            f"{path} is not what caravan wrote ({type(error).__name__}: {error}). "
            "Mend it, or remove it: then everybody gets a new password."
        ) from error


def save(path: Path, credentials: Credentials) -> None:
    """Keep them, readable by their owner alone."""
    content: dict[str, Any] = asdict(credentials)
    write_private(path, _HEAD + yaml.safe_dump(content, sort_keys=False))
