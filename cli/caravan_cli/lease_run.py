"""`caravan lease run`: a cluster for as long as one command runs. However that ends, the lease is given back.

Should this process itself be killed, the lease ends as well: nobody sends its heartbeat any more.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from caravan_cli import child, durations, entries, interrupts, lease_access, lease_options, queueing
from caravan_cli.client import Client
from caravan_cli.kubeconfigs import AccessRole
from caravan_cli.lease_keeper import Keeper
from caravan_cli.outcome import tell
from caravan_cli.session import client
from caravan_cli.views import TakenLease

HEARTBEAT_S = 120  # a killed job's cluster is free that soon; a job survives an api that is away for less


def run(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="CMD…", help="What to run.", show_default=False)],
    pool: Annotated[str, typer.Option(help="The pool to take a cluster of.")],
    lasts_s: lease_options.Lasts = None,
    purpose: lease_options.Purpose = None,
    label: lease_options.Labels = None,
    role: lease_options.Role = AccessRole.ADMIN,
    timeout_s: lease_options.Patience = lease_options.PATIENCE_S,
    heartbeat_s: Annotated[
        int,
        durations.option(
            "--heartbeat",
            "Have the lease end when this command is silent for so long. Default: 2m.",
            show_default=False,
        ),
    ] = HEARTBEAT_S,
    keep_on_failure_s: Annotated[
        int,
        durations.option(
            "--keep-on-failure", "If CMD fails, leave its cluster for so long to look into it.", show_default=False
        ),
    ] = 0,
) -> None:
    """Run a command with a cluster of its own, and give the cluster back whatever happens.

    CMD finds KUBECONFIG, CARAVAN_LEASE and CARAVAN_CLUSTER in its environment. It ends with CMD's exit code: 128+N if
    signal N killed it, 127 if there is no such command, 126 if it is not executable. What was told to end has not
    failed: its cluster is not kept.

    Examples:

      caravan lease run --pool ci --for 1h -- make e2e

      caravan lease run --pool ci --label commit=1a2b3c --keep-on-failure 2h -- sh -c 'kubectl apply -f . && ./test'
    """
    wanted = queueing.wish(
        lasts_s=lasts_s,
        purpose=purpose,
        labels=entries.labels(label or []),
        heartbeat_s=heartbeat_s,
        kubeconfig=role,
    )
    child.check(command[0])  # before a cluster is spent on a misspelt name
    with client(ctx) as api, client(ctx) as keeping, interrupts.raised():
        taken = queueing.take(api, pool, wanted, timeout_s=timeout_s)
        keep_s = 0
        try:
            tell(f"Cluster {taken.cluster} is yours until {taken.until} (lease {taken.id}).")
            ended = _run(api, keeping, taken, role, command)
            keep_s = keep_on_failure_s if ended.failed else 0
        finally:
            queueing.give_back(api, taken, keep_s)
    raise typer.Exit(ended.code)


def _run(api: Client, keeping: Client, taken: TakenLease, role: AccessRole, command: Sequence[str]) -> child.Ended:
    with TemporaryDirectory(prefix="caravan-lease-") as directory:  # its owner's alone
        file = Path(directory) / "kubeconfig"
        access = lease_access.first(api, taken, role)
        access.write(file)
        with Keeper(keeping, taken, access, role, file):
            return child.run(command, _environment(taken, file), in_foreground=child.in_foreground())


def _environment(taken: TakenLease, kubeconfig: Path) -> Mapping[str, str]:
    told = {"KUBECONFIG": str(kubeconfig), "CARAVAN_LEASE": taken.id, "CARAVAN_CLUSTER": taken.cluster or ""}
    return {**os.environ, **told}
