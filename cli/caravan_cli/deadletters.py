"""`caravan dead-letters`: messages that no service could handle, for those who run Caravan."""

from pathlib import Path
from typing import Annotated, Any

import typer

from caravan_cli import options
from caravan_cli.render import Output, Row, listing
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Messages that no service could handle: list and replay them.")


@app.command("list")
def list_letters(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the dead letters."""
    with client(ctx) as api:
        found = api.dead_letters()
    listing(found, output, ("ID", "SUBJECT", "SERVICE", "AT", "REASON"), _row)


@app.command()
def replay(
    ctx: typer.Context,
    letter: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")],
    mended: Annotated[
        Path | None,
        typer.Option("--body", help="A file with what the message shall say instead.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Deliver a dead letter again, after what made it fail is mended.

    Examples:

      caravan dead-letters replay 7

      caravan dead-letters list -o json | jq -r '.[] | select(.id == 7).body' > body; $EDITOR body

      caravan dead-letters replay 7 --body body
    """
    with client(ctx) as api:
        api.replay(letter, mended.read_text() if mended else None)
    typer.echo(f"Dead letter {letter} is delivered again.")


def _row(letter: dict[str, Any]) -> Row:
    return [str(letter.get(key) or "-") for key in ("id", "subject", "service", "at", "reason")]
