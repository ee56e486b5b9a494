"""`caravan member`: who belongs to a team, and what each may do there."""

from enum import StrEnum
from operator import itemgetter
from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.outcome import done, tell
from caravan_cli.render import Output, listing
from caravan_cli.session import client

app = typer.Typer(no_args_is_help=True, help="A team's members: people, groups, service accounts.")
ROLES = "viewer reads, developer also changes, owner also keeps members and tokens, admin runs Caravan."


class Role(StrEnum):
    """What somebody may do; each includes the one before."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OWNER = "owner"
    ADMIN = "admin"


class Kind(StrEnum):
    """What a member is."""

    USER = "user"
    GROUP = "group"
    SERVICE = "service-account"


Name = Annotated[str, typer.Argument(help="The person's, group's or service account's name.", show_default=False)]
KindOption = Annotated[Kind, typer.Option(help="A group is one of your identity provider.")]


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help=ROLES)] = Role.DEVELOPER,
    kind: KindOption = Kind.USER,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Add somebody to your team, or change what they may do in it.

    Examples:

      caravan member add alice@example.org --role owner

      caravan --team builds member add ci --kind service-account
    """
    with client(ctx) as api:
        member = api.place_member(kind.value, name, role.value)
    done(member, output, f"{member['user']} is {member['role']} of the team {member['team']}.")


@app.command("list")
def list_members(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List your team's members."""
    with client(ctx) as api:
        found = api.members()
    heads = ("NAME", "KIND", "ROLE", "ADDED BY")
    listing(found, output, heads, itemgetter("user", "kind", "role", "added_by"), name=itemgetter("user"))


@app.command()
def remove(ctx: typer.Context, name: Name, kind: KindOption = Kind.USER) -> None:
    """Take somebody out of your team; their tokens for it open nothing from then on."""
    with client(ctx) as api:
        api.remove_member(kind.value, name)
    tell(f"{name} is in the team no more.")
