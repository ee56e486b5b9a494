"""`caravan cloud`: whether a cloud is usable, and what the sweep has in mind there and when it may go on."""

from operator import itemgetter
from typing import Annotated

import typer
from rich.text import Text

from caravan_cli import options
from caravan_cli.render import Output, document, listing, say, stdout, table
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Check the clouds that machines come from.")

UNUSABLE = 1  # exit code

_STYLES = {"ok": "green", "warning": "yellow", "fatal": "bold red"}

Cloud = Annotated[str, typer.Argument(metavar="NAME", help="The cloud; see `caravan clouds`.", show_default=False)]


@app.command()
def check(ctx: typer.Context, name: Cloud, output: options.OutputForm = Output.TABLE) -> None:
    """Say whether a cloud is usable, and what to mend; exits with 1 where it is not."""
    with client(ctx) as api:
        found = api.check_cloud(name)
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
    else:
        rows = [
            (finding["about"], Text(finding["level"], style=_STYLES.get(finding["level"], "")), finding["says"])
            for finding in found["findings"]
        ]
        table(stdout(), ("ABOUT", "LEVEL", "FOUND"), rows)
        mends = [finding for finding in found["findings"] if finding["mend"]]
        for finding in mends:
            say(stdout(), f"\n{finding['about']}: {finding['says']}.\n  {finding['mend']}")
        verdict = "usable" if found["usable"] else "NOT usable"
        say(stdout(), f"\nThe cloud {found['cloud']} ({found['kind']}) is {verdict}.")
    if not found["usable"]:
        raise typer.Exit(UNUSABLE)


@app.command()
def sweep(ctx: typer.Context, name: Cloud, output: options.OutputForm = Output.TABLE) -> None:
    """List machines that seem to belong to no cluster, and what happens to each."""
    with client(ctx) as api:
        found = api.sweep(name)
    row = itemgetter("name", "machine_id", "cluster_id", "last_seen_at", "reason", "verdict")
    listing(found, output, ("NAME", "MACHINE", "CLUSTER", "SEEN", "WHY", "WHAT HAPPENS"), row)


@app.command("release-sweep")
def release_sweep(ctx: typer.Context) -> None:
    """After a restore: let the sweep delete machines of clusters that Caravan does not know, on every cloud.

    Clusters made after the backup are unknown and alive. Look at each cloud's `caravan cloud sweep NAME` first.
    """
    with client(ctx) as api:
        was_held = api.release_sweep()["was_held"]
    say(stdout(), "The sweep goes on." if was_held else "The sweep was not held.")
