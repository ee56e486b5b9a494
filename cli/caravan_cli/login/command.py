"""`caravan login` and `caravan logout`."""

import os
import threading
import webbrowser
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli.client import Client
from caravan_cli.context import config_dir
from caravan_cli.errors import CliError, NotFound
from caravan_cli.login import browser, device
from caravan_cli.login.issuer import DeviceCode, HowToLogIn, Issuer
from caravan_cli.login.kept import LoginFile, login_file
from caravan_cli.outcome import tell
from caravan_cli.render import say, stderr
from caravan_cli.session import Session


def login(
    ctx: typer.Context,
    with_device: Annotated[
        bool, typer.Option("--device", help="Log in with a browser elsewhere: for machines without one.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of this machine that the browser comes back to. 0: any.")
    ] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait for you, seconds.")] = 300,
) -> None:
    """Log in with the issuer that the API trusts; commands then go as you, and renew the login by themselves.

    Examples:

      caravan login

      caravan --url https://caravan.example.org login --device
    """
    session = ctx.ensure_object(Session)
    with Issuer(_how_to_log_in(session), session.transport) as issuer:
        if with_device:
            made = device.log_in(issuer, timeout_s=timeout, show=_show_code)
        else:
            made = browser.log_in(issuer, port=port, timeout_s=timeout, show=_open)
    _file(session).write(made)
    token = made.token()
    tell(f"You are logged in as {token.user}, {_until(made.refresh_token, token.expires_at)}. Next: caravan whoami")


def logout(ctx: typer.Context) -> None:
    """End the login, here and at its issuer."""
    session = ctx.ensure_object(Session)
    file = _file(session)
    if not file.exists():
        raise NotFound(f"You are not logged in at {session.target().url}.")
    with file.locked():
        kept = file.read()
        file.remove()
    tell("You are logged out.")
    if kept.refresh_token:
        try:
            with Issuer(HowToLogIn(issuer=kept.issuer, client_id=kept.client_id), session.transport) as issuer:
                issuer.revoke(kept.refresh_token)
        except CliError as error:
            say(stderr(), f"Warning: the issuer does not know of it yet: {error}", style="yellow")


def _how_to_log_in(session: Session) -> HowToLogIn:
    # As nobody: a login that has ended must not keep anybody from the next one.
    with Client(replace(session.target(), token=None, login=None, team=None), transport=session.transport) as api:
        try:
            return HowToLogIn.model_validate(api.how_to_log_in())
        except NotFound as error:
            raise NotFound(
                f"{api.target.url} trusts no issuer to log in with. Ask whoever runs it for a token."
            ) from error


def _file(session: Session) -> LoginFile:
    return login_file(session.target().url, config_dir(os.environ, Path.home()))


def _open(address: str) -> None:
    tell(f"Log in with your browser. If none opens, go to:\n\n{address}\n")
    # Some browsers are waited for until they end.
    threading.Thread(target=webbrowser.open, args=[address], name="browser", daemon=True).start()


def _show_code(code: DeviceCode) -> None:
    tell(f"On any machine go to {code.verification_uri} and enter the code {code.user_code}")
    if code.verification_uri_complete:
        tell(f"or go to {code.verification_uri_complete} and check that it shows the same code.")


def _until(refresh_token: str | None, expires_at: float) -> str:
    if refresh_token:
        return "until you log out or the issuer ends it"
    return f"until {datetime.fromtimestamp(expires_at).astimezone():%Y-%m-%d %H:%M}"
