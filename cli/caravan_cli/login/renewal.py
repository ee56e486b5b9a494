"""Stay logged in: every request goes with an ID token that is still good, and the next one is got in time."""

import time
from collections.abc import Generator

import httpx

from caravan_cli.errors import CliError, NotAllowed
from caravan_cli.login import id_token
from caravan_cli.login.issuer import HowToLogIn, Issuer, IssuerRefused
from caravan_cli.login.kept import Login, LoginFile


class Renewing(httpx.Auth):
    """The authentication of requests by a kept login. `transport` stands in for the network to the issuer."""

    def __init__(self, file: LoginFile, transport: httpx.BaseTransport | None = None) -> None:
        self._file, self._transport = file, transport

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with the token."""
        request.headers["Authorization"] = f"Bearer {self.id_token()}"
        yield request

    def id_token(self) -> str:
        """A token for now. NotAllowed once the login has ended, Unavailable if its issuer is away for too long."""
        login = self._file.read()
        if not login.token().is_due(time.time()):
            return login.id_token
        with self._file.locked():
            login = self._file.read()  # another command may have been first
            if login.token().is_due(time.time()):
                login = self._renewed(login)
        return login.id_token

    def _renewed(self, login: Login) -> Login:
        try:
            renewed = renew(login, self._transport)
        except CliError:
            if time.time() < login.token().expires_at:
                return login  # it is still good for this time
            raise
        self._file.write(renewed)
        return renewed


def renew(login: Login, transport: httpx.BaseTransport | None = None) -> Login:
    """The login with its next ID token. NotAllowed if the issuer gives none, Unavailable if it is away."""
    if login.refresh_token is None:
        raise _ended(login, "it gives no refresh tokens to this client")
    with Issuer(HowToLogIn(issuer=login.issuer, client_id=login.client_id), transport) as issuer:
        try:
            tokens = issuer.tokens({"grant_type": "refresh_token", "refresh_token": login.refresh_token})
        except IssuerRefused as refused:
            raise _ended(login, str(refused)) from refused
    if tokens.id_token is None:
        raise _ended(login, "it renews no ID tokens")
    id_token.read(tokens.id_token, issuer=login.issuer, client_id=login.client_id, subject=login.token().subject)
    return login.model_copy(
        update={"id_token": tokens.id_token, "refresh_token": tokens.refresh_token or login.refresh_token}
    )


def _ended(login: Login, why: str) -> NotAllowed:
    return NotAllowed(f"Your login at {login.issuer} has ended ({why}). Log in again with: caravan login")
