"""`caravan doctor`: is the installation well, and what is to be mended? The api looks; this prints what it found."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from caravan_cli import options
from caravan_cli.client import Json
from caravan_cli.errors import Unavailable
from caravan_cli.render import Output, document, say, stdout, table
from caravan_cli.session import client

UNWELL = 1  # exit code

_STYLES = {"ok": "green", "warning": "yellow", "fatal": "bold red"}


def doctor(
    ctx: typer.Context,
    output: options.OutputForm = Output.TABLE,
    all_: Annotated[bool, typer.Option("--all", help="Also what is well.")] = False,
) -> None:
    """Say whether the installation is well, and what to mend; exits with 1 where something is broken.

    For those who run it. Looks at every service, NATS, the stores, dead letters, clouds, what expires, and disks.

    Example:

      caravan doctor --all
    """
    with client(ctx) as api:
        found = _examined(api.doctor, str(api.target.url))
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
    else:
        _print(found, all_=all_)
    if not found["well"]:
        raise typer.Exit(UNWELL)


def _examined(examine: Callable[[], Json], url: str) -> Json:
    try:
        return examine()
    except Unavailable as error:
        mend = "Start the api, or name another one by --url; its log says why it does not answer."
        silent = {"about": "api", "level": "fatal", "says": f"{url}: {error}", "mend": mend}
        return {"well": False, "version": None, "findings": [silent]}


def _print(found: Json, *, all_: bool) -> None:
    told = [each for each in found["findings"] if all_ or each["level"] != "ok"]
    if told:
        table(stdout(), ("ABOUT", "LEVEL", "FOUND"), [*map(_row, told)])
    for each in told:
        if each["mend"]:
            say(stdout(), f"\n{each['about']}: {each['says']}.\n  {each['mend']}")
    warnings = sum(each["level"] == "warning" for each in found["findings"])
    looked = f"{len(found['findings'])} findings, {warnings} of them warnings"
    say(stdout(), f"\nThe installation is {'well' if found['well'] else 'NOT well'}: {looked}.")


def _row(finding: Json) -> tuple[str, Text, str]:
    level = finding["level"]
    return finding["about"], Text(level, style=_STYLES.get(level, "")), finding["says"]
