"""`caravan lease`: take a cluster of a pool for a while, look at leases, make one longer, give one back."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from caravan_cli import durations, entries, interrupts, lease_access, lease_options, lease_run, options, queueing
from caravan_cli.client import Client
from caravan_cli.errors import CliError, UsageProblem
from caravan_cli.kubeconfigs import AccessRole
from caravan_cli.outcome import tell
from caravan_cli.pool_pages import show_lease, show_leases
from caravan_cli.render import Output
from caravan_cli.session import client
from caravan_cli.views import Lease, TakenLease
from caravan_shared.contracts.states import LeaseState

STDOUT = "-"

app = typer.Typer(no_args_is_help=True, help="Clusters of pools for a while: take one, see who has one, give it back.")

LeaseId = Annotated[UUID, typer.Argument(metavar="ID", help="The lease's id.", show_default=False)]


@app.command()
def take(
    ctx: typer.Context,
    pool: Annotated[str, typer.Argument(help="The pool's name or id.", show_default=False)],
    lasts_s: lease_options.Lasts = None,
    purpose: lease_options.Purpose = None,
    label: lease_options.Labels = None,
    heartbeat_s: Annotated[
        int | None,
        durations.option("--heartbeat", "Have it end when no `caravan lease heartbeat` came for so long."),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Stand in the queue where no spare is ready; else that is an error."),
    ] = True,
    timeout_s: lease_options.Patience = lease_options.PATIENCE_S,
    kubeconfig: Annotated[
        str | None, typer.Option(metavar="FILE", help="File for a kubeconfig, yours alone; `-` for the output.")
    ] = None,
    role: lease_options.Role = AccessRole.ADMIN,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Take a cluster: at once where a spare is ready, else when it is your turn. Given back, it is deleted.

    Examples:

      caravan lease take ci --for 2h --purpose "look at issue 17" --kubeconfig ci.kubeconfig

      caravan lease take ci --no-wait -o name
    """
    _check_file(kubeconfig, output)
    wanted = queueing.wish(
        lasts_s=lasts_s,
        purpose=purpose,
        labels=entries.labels(label or []),
        heartbeat_s=heartbeat_s,
        kubeconfig=role if kubeconfig else None,
        wait=wait,
    )
    with client(ctx) as api:
        with interrupts.raised():
            taken = queueing.take(api, pool, wanted, timeout_s=timeout_s)
        tell(
            f"Cluster {taken.cluster} is yours until {taken.until}. Give it back with: caravan lease return {taken.id}"
        )
        if kubeconfig != STDOUT:
            _show(_lease_alone(taken), output)
        if kubeconfig:
            _hand_over(api, taken, role, kubeconfig)


@app.command("list")
def list_leases(
    ctx: typer.Context,
    pool: Annotated[str | None, typer.Option(help="Those of one pool, by its name.")] = None,
    state: Annotated[
        LeaseState | None, typer.Option(help="Those in one state; Ended ones show only so.", case_sensitive=False)
    ] = None,
    holder: Annotated[str | None, typer.Option(help="Those that this user took.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Those that you took.")] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List leases, the newest first.

    Examples:

      caravan lease list --mine

      caravan lease list --pool ci --state Ended -o wide
    """
    if mine and holder:
        raise UsageProblem("Give either --mine or --holder.")
    with client(ctx) as api:
        whose = str(api.whoami()["user"]) if mine else holder
        asked = {"pool": pool, "state": state.value if state else None, "holder": whose}
        found = list(api.leases({key: value for key, value in asked.items() if value}))
    show_leases(found, output, datetime.now(UTC))


@app.command()
def get(ctx: typer.Context, lease: LeaseId, output: options.OutputForm = Output.YAML) -> None:
    """Show all that is known of a lease."""
    with client(ctx) as api:
        _show(api.lease(str(lease)), output)


@app.command()
def extend(
    ctx: typer.Context,
    lease: LeaseId,
    for_s: Annotated[
        int | None,
        durations.option("--for", "How much longer. Default: as long as it was taken for, within the pool's cap."),
    ] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Have a lease end later.

    Example:

      caravan lease extend 0190f6f0-5b7c-7000-8000-000000000001 --for 1h
    """
    with client(ctx) as api:
        found = api.extend_lease(str(lease), for_s)
    tell(f"Cluster {found.cluster} is yours until {found.until}.")
    _show_to_program(found, output)


@app.command()
def heartbeat(ctx: typer.Context, lease: LeaseId, output: options.OutputForm = Output.TABLE) -> None:
    """Say that you are still there, for a lease that was taken with --heartbeat.

    Example:

      caravan lease heartbeat 0190f6f0-5b7c-7000-8000-000000000001
    """
    with client(ctx) as api:
        found = api.heartbeat(str(lease))
    tell(f"Cluster {found.cluster} is yours until {found.until}.")
    _show_to_program(found, output)


@app.command("return")
def give_back(
    ctx: typer.Context,
    lease: LeaseId,
    keep_s: Annotated[
        int,
        durations.option("--keep", "Leave its cluster for so long, to look for what went wrong.", show_default=False),
    ] = 0,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Give a lease back, or leave the queue. Its cluster is deleted and nobody gets it again.

    Example:

      caravan lease return 0190f6f0-5b7c-7000-8000-000000000001 --keep 2h
    """
    with client(ctx) as api:
        found = api.return_lease(str(lease), keep_s=keep_s)
    tell(queueing.how_it_ended(found))
    _show_to_program(found, output)


# What follows the command's name belongs to it, its options included.
app.command(context_settings={"allow_interspersed_args": False})(lease_run.run)


def _hand_over(api: Client, taken: TakenLease, role: AccessRole, file: str) -> None:
    """Write the kubeconfig. The lease stays whatever goes wrong here: it can be asked for again."""
    try:
        access = lease_access.first(api, taken, role)
        if file == STDOUT:
            typer.echo(access.issued.kubeconfig, nl=not access.issued.kubeconfig.endswith("\n"))
        else:
            access.write(Path(file))
    except CliError:
        again = f"caravan cluster kubeconfig {taken.cluster} --role {role}"
        tell(f"The lease is yours, but without a kubeconfig. Ask again: {again}")
        raise


def _check_file(file: str | None, output: Output) -> None:
    """Nobody should wait in a queue for a file that cannot be written."""
    if file == STDOUT and output is not Output.TABLE:
        raise UsageProblem("Only one thing fits the output: give either -o or --kubeconfig -.")
    if file and file != STDOUT and not os.access(Path(file).parent, os.W_OK):
        raise UsageProblem(f"{file} cannot be written: its directory is missing or closed to you.")


def _lease_alone(taken: TakenLease) -> Lease:
    return Lease.model_validate(taken.model_dump(exclude={"kubeconfig", "kubeconfig_problem"}))


def _show(lease: Lease, output: Output) -> None:
    show_lease(lease, output, datetime.now(UTC))


def _show_to_program(lease: Lease, output: Output) -> None:
    """A person has been told already."""
    if output not in {Output.TABLE, Output.WIDE}:
        _show(lease, output)
