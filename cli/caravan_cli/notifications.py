"""`caravan notification`: what your team's chat is told by itself."""

from enum import StrEnum
from operator import itemgetter
from typing import Annotated, Any

import typer

from caravan_cli import options
from caravan_cli.outcome import done, tell
from caravan_cli.render import Output, Row, listing
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="What your team's chat is told by itself.")


class Product(StrEnum):
    """A chat product."""

    SLACK = "slack"
    MATTERMOST = "mattermost"


class Occasion(StrEnum):
    """What can be told."""

    LEASE_GRANTED = "lease-granted"
    LEASE_ENDING = "lease-ending"
    CLUSTER_FAILED = "cluster-failed"
    CLUSTER_UNHEALTHY = "cluster-unhealthy"
    CLUSTER_EXPIRING = "cluster-expiring"


Name = Annotated[str, typer.Argument(help="A name of your own for it.", show_default=False)]


@app.command("set")
def set_notification(
    ctx: typer.Context,
    name: Name,
    occasions: Annotated[list[Occasion], typer.Option("--on", help="What is told. Repeat it for several.")],
    product: Annotated[Product, typer.Option(help="Whose webhook it is.")] = Product.SLACK,
    url_file: Annotated[
        typer.FileText,
        typer.Option(help="File with the incoming webhook's URL, which is a secret; `-` reads standard input."),
    ] = "-",  # type: ignore[assignment]  # typer opens it
    channel: Annotated[str | None, typer.Option(help="Of Mattermost, another than the webhook's own.")] = None,
    pool: Annotated[str | None, typer.Option(help="Only what concerns this pool's clusters.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only what concerns this cluster.")] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Have something told, or told otherwise. One that was stopped goes on.

    Example:

      caravan notification set ci --on lease-ending --on cluster-failed --pool ci --url-file webhook-url
    """
    wish = {
        "product": product.value,
        "url": url_file.read().strip(),
        "occasions": [occasion.value for occasion in occasions],
        "channel": channel,
        "pool": pool,
        "cluster": cluster,
    }
    with client(ctx) as api:
        made = api.set_notification(name, wish)
    done(made, output, f"The team {made['team']} has told: {', '.join(made['occasions'])}.")


@app.command("list")
def list_notifications(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List what is told, and how well that goes."""
    with client(ctx) as api:
        found = api.notifications()
    listing(found, output, ("NAME", "CHAT", "ON", "ABOUT", "PENDING", "PROBLEM"), _row, name=itemgetter("name"))


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Have it told no more."""
    with client(ctx) as api:
        api.remove_notification(name)
    tell(f"{name} is told no more.")


def _row(rule: dict[str, Any]) -> Row:
    return (
        rule["name"],
        rule["product"],
        ",".join(rule["occasions"]),
        rule["pool"] or rule["cluster"] or "all",
        str(rule["pending"]),
        f"stopped: {rule['problem']}" if rule["stopped_at"] else rule["problem"] or "-",
    )
