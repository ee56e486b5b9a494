"""`caravan cluster hibernate` and `wake`: stop a cluster's machines for a while, and go on where it was."""

import typer

from caravan_cli import options
from caravan_cli.outcome import settle, show, tell
from caravan_cli.progress import progress_on
from caravan_cli.render import Output, stderr
from caravan_cli.session import client
from caravan_cli.waiting import until_asleep


def hibernate(
    ctx: typer.Context,
    name: options.Name,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Put a Ready cluster to sleep: its machines are stopped; disks, names and addresses are kept.

    Example:

      caravan cluster hibernate demo --wait
    """
    with client(ctx) as api:
        cluster = api.hibernate(name)
        if wait:
            cluster = until_asleep(api, cluster, progress_on(stderr()), timeout_s=timeout)
        tell(f"Cluster {cluster.name} is {cluster.phase}. Wake it with: caravan cluster wake {cluster.name}")
    show(cluster, output)


def wake(
    ctx: typer.Context,
    name: options.Name,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Wake a sleeping cluster: its machines are started, and it is Ready once its kube-apiserver answers.

    Example:

      caravan cluster wake demo --wait
    """
    with client(ctx) as api:
        cluster = api.wake(name)
        tell(f"Cluster {cluster.name} is {cluster.phase}.")
        settle(api, cluster, output, wait=wait, timeout=timeout)
