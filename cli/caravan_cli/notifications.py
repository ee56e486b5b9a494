"""`caravan notification`: what your team's chat is told by itself."""

from enum import StrEnum
from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.outcome import tell
from caravan_cli.render import Output, document, stdout, table
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
    if output in {Output.JSON, Output.YAML}:
        document(made, output)
        return
    tell(f"The team {made['team']} has told: {', '.join(made['occasions'])}.")


@app.command("list")
def list_notifications(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List what is told, and how well that goes."""
    with client(ctx) as api:
        found = api.notifications()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    if output is Output.NAME:
        typer.echo("\n".join(each["name"] for each in found), nl=bool(found))
        return
    rows = [
        (
            each["name"],
            each["product"],
            ",".join(each["occasions"]),
            each["pool"] or each["cluster"] or "all",
            str(each["pending"]),
            f"stopped: {each['problem']}" if each["stopped_at"] else each["problem"] or "-",
        )
        for each in found
    ]
    table(stdout(), ("NAME", "CHAT", "ON", "ABOUT", "PENDING", "PROBLEM"), rows)


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Have it told no more."""
    with client(ctx) as api:
        api.remove_notification(name)
    tell(f"{name} is told no more.")
