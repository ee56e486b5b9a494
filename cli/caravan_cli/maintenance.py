"""`caravan cluster maintenance` and `caravan pool maintenance`: when what disturbs clusters may begin."""

from typing import Annotated

import typer

from caravan_cli import durations, options
from caravan_cli.client import Json
from caravan_cli.errors import UsageProblem
from caravan_cli.outcome import show, tell
from caravan_cli.render import Output
from caravan_cli.session import client

_EVERY_DAY = "daily"


Windows = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="'DAYS HH:MM DURATION [ZONE]'",
        help="Such as 'sat,sun 02:00 4h Europe/Berlin'. Repeat.",
    ),
]
AnyTime = Annotated[bool, typer.Option("--any-time", help="No windows: everything may begin at once.")]


def of_cluster(
    ctx: typer.Context,
    name: options.Name,
    window: Windows = None,
    any_time: AnyTime = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Set a cluster's maintenance windows, in the place of those it has. DAYS may be `daily`; the zone is UTC.

    Examples:

      caravan cluster maintenance demo --window "sat,sun 02:00 4h Europe/Berlin"

      caravan cluster maintenance demo --any-time
    """
    windows = _windows(window, any_time=any_time)
    with client(ctx) as api:
        cluster = api.change(name, {"maintenance": {"windows": windows}}, etag=api.cluster(name).etag)
    when = "in its maintenance windows" if windows else "at any time"
    tell(f"Upgrades and the renewal of certificates of cluster {cluster.name} begin {when} from now on.")
    show(cluster, output)


def of_pool(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The pool's name or id.", show_default=False)],
    window: Windows = None,
    any_time: AnyTime = False,
) -> None:
    """Set the maintenance windows of a pool's template, in the place of those it has: its spares are replaced in them.

    Clusters that the pool makes have these windows, too.

    Example:

      caravan pool maintenance ci --window "daily 02:00 4h Europe/Berlin"
    """
    windows = _windows(window, any_time=any_time)
    with client(ctx) as api:
        pool = api.pool(name)
        pool = api.change_pool(pool.id, {"template": {"maintenance": {"windows": windows}}}, etag=pool.etag)
    when = "in these maintenance windows" if windows else "at any time"
    tell(f"Spares of pool {pool.name} that were made from an earlier template are replaced {when} from now on.")


def _windows(texts: list[str] | None, *, any_time: bool) -> list[Json]:
    if bool(texts) == any_time:
        raise UsageProblem("When? Give --window, once or several times, or --any-time.")
    return [parse(text) for text in texts or ()]


def parse(text: str) -> Json:
    """A window as the API takes it. Raises `UsageProblem`; what days, times and zones there are is the API's to say."""
    words = text.split()
    if len(words) not in (3, 4):
        raise UsageProblem(f"{text!r} is no window; write it as 'sat,sun 02:00 4h Europe/Berlin'.")
    days, start, lasts, *zone = words
    try:
        window: Json = {"start": start, "duration_s": durations.parse(lasts)}
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    if days != _EVERY_DAY:
        window["days"] = days.split(",")
    return {**window, "timezone": zone[0]} if zone else window
