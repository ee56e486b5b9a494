"""`caravan dead-letters`: messages that no service could handle, for those who run Caravan."""

from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.render import Output, document, stdout, table
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Messages that no service could handle: list and replay them.")


@app.command("list")
def list_letters(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the dead letters."""
    with client(ctx) as api:
        found = api.dead_letters()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    heads = ("ID", "SUBJECT", "SERVICE", "AT", "REASON")
    rows = [
        tuple(str(letter.get(key) or "-") for key in ("id", "subject", "service", "at", "reason")) for letter in found
    ]
    table(stdout(), heads, rows)


@app.command()
def replay(
    ctx: typer.Context, letter: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")]
) -> None:
    """Deliver a dead letter again, after what made it fail is mended."""
    with client(ctx) as api:
        api.replay(letter)
    typer.echo(f"Dead letter {letter} is delivered again.")
