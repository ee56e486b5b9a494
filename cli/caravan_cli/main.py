"""The `caravan` command: which commands there are, the flags before them, and how errors become exit codes."""

from importlib.metadata import version as package_version
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from caravan_cli import (
    access,
    audit,
    backup,
    catalogue,
    chat,
    cloud,
    clusters,
    compose,
    deadletters,
    demo,
    doctor,
    grants,
    keys,
    leases,
    machines,
    maintenance,
    members,
    notifications,
    pools,
    requests,
    runs,
    sleep,
    teams,
    tokens,
    up,
    upkeep,
)
from caravan_cli.artifacts import command as artifacts
from caravan_cli.complain import complain
from caravan_cli.errors import EXIT_CODES, CliError
from caravan_cli.login import command as logins
from caravan_cli.nats import command as nats
from caravan_cli.render import stderr
from caravan_cli.session import Session

EPILOG = "Exit codes: " + ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


class Commands(TyperGroup):
    """A command group that turns our errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; typer itself sees to wrong usage and to interrupts."""
        try:
            return super().invoke(ctx)
        except CliError as error:
            complain(stderr(), error)
            raise typer.Exit(error.exit_code) from error
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
            complain(
                stderr(), CliError(f"The API's answer is not what this version of caravan understands (at {fields}).")
            )
            raise typer.Exit(CliError.exit_code) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Kubernetes clusters on request.

Start a stack on this machine with `caravan up`, then ask for a cluster with `caravan cluster create demo --wait`.
The API and your token come from the flags, else CARAVAN_URL, CARAVAN_TOKEN and CARAVAN_TEAM, else
./.caravan/credentials (which `caravan up` writes), else ~/.config/caravan/config.yaml. A login (`caravan login`)
goes before a token from a file.""",
)
cluster = typer.Typer(no_args_is_help=True, help="Ask for clusters, look at them, change and delete them.")

cluster.command()(requests.create)
cluster.command("list")(clusters.list_clusters)
cluster.command()(clusters.get)
cluster.command()(clusters.describe)
cluster.command()(clusters.nodes)
cluster.command()(clusters.events)
cluster.command("runs")(runs.list_runs)
cluster.command()(runs.logs)
cluster.command()(access.kubeconfig)
cluster.command()(access.credential)
cluster.command()(requests.plan)
cluster.command()(requests.scale)
cluster.command()(requests.upgrade)
cluster.command()(requests.retry)
cluster.command()(upkeep.replace_node)
cluster.command()(upkeep.lifetime)
cluster.command()(upkeep.pause)
cluster.command()(upkeep.resume)
cluster.command()(upkeep.repair)
cluster.command()(upkeep.drain)
cluster.command("maintenance")(maintenance.of_cluster)
cluster.command()(sleep.hibernate)
cluster.command()(sleep.wake)
cluster.command()(requests.delete)
app.add_typer(cluster, name="cluster")
app.command()(catalogue.versions)
app.command()(catalogue.clouds)
app.command()(logins.login)
app.command()(logins.logout)
app.command()(catalogue.whoami)
pools.app.command("maintenance")(maintenance.of_pool)
app.add_typer(pools.app, name="pool")
app.add_typer(leases.app, name="lease")
app.add_typer(teams.app, name="team")
app.add_typer(members.app, name="member")
app.add_typer(grants.app, name="grants")
app.add_typer(tokens.app, name="token")
app.add_typer(chat.app, name="chat")
app.add_typer(notifications.app, name="notification")
app.command("audit")(audit.audit)
app.add_typer(machines.app, name="machine")
app.add_typer(cloud.app, name="cloud")
app.add_typer(deadletters.app, name="dead-letters")
app.command("doctor")(doctor.doctor)
app.add_typer(nats.app, name="nats")
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(compose.app, name="compose")
app.command("up")(up.command.up)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(keys.app, name="keys")
app.command("demo")(demo.demo)


@app.command()
def version() -> None:
    """Print the version of this command."""
    typer.echo(package_version("caravan-cli"))


@app.callback()
def target(
    ctx: typer.Context,
    url: Annotated[str | None, typer.Option(help="The API's URL.")] = None,
    token: Annotated[str | None, typer.Option(help="Bearer token; CARAVAN_TOKEN shows up in no process list.")] = None,
    team: Annotated[str | None, typer.Option(help="Team to act for, where yours may act for others.")] = None,
) -> None:
    """Where to and as whom."""
    ctx.obj = Session(url=url, token=token, team=team, transport=ctx.obj)
