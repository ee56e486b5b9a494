"""Where a login is kept between two commands: a file of its own for each API, which its owner alone can read.

They are in `~/.config/caravan/logins`, beside the configuration. Several commands may run at once: a file is replaced
whole, and whoever renews a login holds its lock, because issuers let a refresh token be used once.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from caravan_cli.errors import NotAllowed, UsageProblem
from caravan_cli.login import id_token
from caravan_cli.login.id_token import IdToken
from caravan_cli.private_files import write_private
from caravan_shared.contracts.oidc import IssuerUrl


class Login(BaseModel):
    """Somebody's login for one API."""

    issuer: IssuerUrl
    client_id: str
    id_token: str
    refresh_token: str | None

    def token(self) -> IdToken:
        """The ID token, read."""
        return id_token.read(self.id_token, issuer=self.issuer, client_id=self.client_id)


@dataclass(frozen=True)
class LoginFile:
    """The file that holds a login, if there is one."""

    path: Path

    def exists(self) -> bool:
        """Whether somebody is logged in."""
        return self.path.is_file()

    def read(self) -> Login:
        """The login. NotAllowed if there is none any more, UsageProblem on a broken file."""
        try:
            return Login.model_validate_json(self.path.read_text())
        except FileNotFoundError:
            raise NotAllowed("You are logged out. Log in with: caravan login") from None
        except (OSError, ValidationError) as error:
            raise UsageProblem(f"{self.path} cannot be read. Log in again with: caravan login") from error

    def write(self, login: Login) -> None:
        """Keep this login instead of the one before."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path, login.model_dump_json(indent=2))

    def remove(self) -> None:
        """Forget the login."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else renews this login meanwhile."""
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def login_file(url: str, config: Path) -> LoginFile:
    """Where a login for the API at this url is kept."""
    return LoginFile(config / "logins" / f"{quote(url, safe='')}.json")
