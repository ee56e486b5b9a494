"""Durations on the command line: options that take one, and ages as they are written."""

from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from caravan_cli.render import age
from caravan_shared.contracts import durations

_START = datetime.fromtimestamp(0, UTC)


def parse(text: str | int) -> int:
    """Seconds; typer.BadParameter where the text is no duration. A default comes through here too, as it is."""
    try:
        return durations.parse(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def option(name: str, explanation: str, **more: Any) -> Any:
    """An option that takes a duration. `more` is handed to typer."""
    return typer.Option(name, parser=parse, metavar="DURATION", help=explanation, **more)


def text(seconds: float) -> str:
    """A duration as ages are written: `42s`, `5m10s`, `3h20m`."""
    return age(_START, _START + timedelta(seconds=seconds))
