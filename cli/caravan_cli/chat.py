"""`caravan chat`: who you are in Slack and Mattermost, so that `/caravan` there acts for you."""

from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.outcome import tell
from caravan_cli.render import Output, document, stdout, table
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="Your links to chats, where `/caravan` acts for you.")


@app.command()
def link(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(help="What `/caravan link` showed you. Never one that somebody sent you.")],
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Confirm that whoever was given this code is you, in your team.

    Example:

      caravan --team builds chat link K7WQ2MZX9PAB
    """
    with client(ctx) as api:
        made = api.confirm_chat(code)
    if output in {Output.JSON, Output.YAML}:
        document(made, output)
        return
    tell(f"@{made['chat_name']} of {made['integration']} is {made['user']} of the team {made['team']} from now on.")
    tell(f"If that is not you, undo it now: caravan chat unlink {made['id']}")


@app.command("list")
def list_links(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List who is you in chats."""
    with client(ctx) as api:
        found = api.chat_links()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    if output is Output.NAME:
        typer.echo("\n".join(each["id"] for each in found), nl=bool(found))
        return
    rows = [
        (each["id"], each["integration"], each["workspace"], each["chat_name"], each["team"], each["linked_at"])
        for each in found
    ]
    table(stdout(), ("ID", "CHAT", "WORKSPACE", "NAME", "TEAM", "LINKED"), rows)


@app.command()
def unlink(
    ctx: typer.Context, link: Annotated[str, typer.Argument(metavar="ID", help="See `caravan chat list`.")]
) -> None:
    """Undo a link at once."""
    with client(ctx) as api:
        api.remove_chat_link(link)
    tell(f"Link {link} is undone.")
