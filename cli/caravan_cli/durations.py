"""Durations as people type and read them: `90s`, `30m`, `1h30m`, `2d`, or plain seconds."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from caravan_cli.render import age

_FORM = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_UNITS_S = (86_400, 3600, 60, 1)
_START = datetime.fromtimestamp(0, UTC)


def parse(text: str | int) -> int:
    """Seconds; typer.BadParameter where the text is no duration. A default comes through here too, as it is."""
    typed = str(text)
    found = _FORM.fullmatch(f"{typed}s" if typed.isdecimal() else typed)
    if found is None:
        raise typer.BadParameter(f"{typed!r} is no duration; write 90s, 30m, 2h or 1d, or plain seconds.")
    return sum(int(count) * unit for count, unit in zip(found.groups(default="0"), _UNITS_S, strict=True))


def option(name: str, explanation: str, **more: Any) -> Any:
    """An option that takes a duration. `more` is handed to typer."""
    return typer.Option(name, parser=parse, metavar="DURATION", help=explanation, **more)


def text(seconds: float) -> str:
    """A duration as ages are written: `42s`, `5m10s`, `3h20m`."""
    return age(_START, _START + timedelta(seconds=seconds))
