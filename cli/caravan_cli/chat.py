"""`caravan chat`: who you are in Slack and Mattermost, so that `/caravan` there acts for you."""

from operator import itemgetter
from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.outcome import done, tell
from caravan_cli.render import Output, listing
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
    done(
        made,
        output,
        f"@{made['chat_name']} of {made['integration']} is {made['user']} of the team {made['team']} from now on.",
        f"If that is not you, undo it now: caravan chat unlink {made['id']}",
    )


@app.command("list")
def list_links(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List who is you in chats."""
    with client(ctx) as api:
        found = api.chat_links()
    row = itemgetter("id", "integration", "workspace", "chat_name", "team", "linked_at")
    listing(found, output, ("ID", "CHAT", "WORKSPACE", "NAME", "TEAM", "LINKED"), row, name=itemgetter("id"))


@app.command()
def unlink(
    ctx: typer.Context, link: Annotated[str, typer.Argument(metavar="ID", help="See `caravan chat list`.")]
) -> None:
    """Undo a link at once."""
    with client(ctx) as api:
        api.remove_chat_link(link)
    tell(f"Link {link} is undone.")
