"""How every command that asks for a change ends: it says what was asked for, and waits for it if told to."""

from typing import Any

import typer

from caravan_cli.client import Client
from caravan_cli.progress import progress_on
from caravan_cli.render import Output, document, say, stderr
from caravan_cli.views import Cluster
from caravan_cli.waiting import until_settled


def tell(text: str) -> None:
    """Say something beside the answer: on stderr, so that the answer can be piped."""
    say(stderr(), text)


def done(answer: Any, output: Output, *sentences: str) -> None:
    """Print what came of a change: the answer for a program, sentences for a person."""
    if output in {Output.JSON, Output.YAML}:
        document(answer, output)
        return
    for sentence in sentences:
        tell(sentence)


def settle(api: Client, cluster: Cluster, output: Output, *, wait: bool, timeout: float) -> None:
    """Wait until the cluster is as asked for, or say how to follow it; then print it in the form asked for."""
    if wait:
        cluster = until_settled(api, cluster, progress_on(stderr()), timeout_s=timeout)
        tell(
            f"Cluster {cluster.name} is {cluster.phase}. Next: caravan cluster kubeconfig {cluster.name} -f kubeconfig"
        )
    elif output in {Output.TABLE, Output.WIDE}:
        tell(f"Follow it with: caravan cluster events {cluster.name} --follow")
    show(cluster, output)


def show(cluster: Cluster, output: Output) -> None:
    """Print the cluster for a program; a person has been told already."""
    if output is Output.NAME:
        typer.echo(cluster.name)
    elif output in {Output.JSON, Output.YAML}:
        document(cluster, output)
