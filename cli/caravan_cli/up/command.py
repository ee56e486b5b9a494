"""`caravan up`: the local stack in the foreground, until Ctrl-C."""

import re
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.panel import Panel
from rich.text import Text

from caravan_cli.context import CREDENTIALS
from caravan_cli.errors import UsageProblem
from caravan_cli.render import say, stderr, stdout, table
from caravan_cli.up.clouds import CloudOption, Clouds, MirrorOption, engine
from caravan_cli.up.errors import StackError
from caravan_cli.up.layout import Ports
from caravan_cli.up.parts import PARTS
from caravan_cli.up.signals import stopped_at_the_end
from caravan_cli.up.stack import TEND_EVERY_S, Stack

StateDir = Annotated[
    Path, typer.Option("--state-dir", help="Directory for all that the stack keeps.", envvar="CARAVAN_STATE_DIR")
]


def up(
    state_dir: StateDir = Path(".caravan"),
    ports: Annotated[
        str | None,
        typer.Option(help="`auto` takes free ports, for several stacks side by side; kept for later starts."),
    ] = None,
    port_offset: Annotated[int, typer.Option(help="Added to every usual port.")] = 0,
    network: Annotated[
        str | None, typer.Option(help="Addresses of the sandbox's machines, such as 127.64.0.0/16.")
    ] = None,
    cloud: CloudOption = Clouds.SANDBOX,
    mirror: MirrorOption = None,
) -> None:
    """Run Caravan on this machine: NATS, the five services and a SIMULATED cloud. Ctrl-C stops all of it.

    With --cloud docker there is a cloud `docker` too, whose clusters are real ones in containers.

    Examples:

      caravan up

      caravan up --cloud docker

      caravan up --state-dir other --ports auto
    """
    console = stdout()
    stack = Stack(
        state_dir,
        ports=_chosen(ports, port_offset),
        network=_checked(network),
        docker=engine(cloud, mirror),
        say=lambda text: say(console, text),
    )
    try:
        with stopped_at_the_end(stack):
            say(console, f"Starting the local stack in {stack.state_dir} …")
            stack.start()
            welcome(stack)
            while True:
                time.sleep(TEND_EVERY_S)
                stack.tend()
    except KeyboardInterrupt:
        say(console, "All of it is stopped; the next `caravan up` finds it as it was.")
    except StackError as error:
        show_tail(error)
        raise


def welcome(stack: Stack) -> None:
    """Say what runs where, and what to do next."""
    console = stdout()
    console.print(
        Panel(
            Text(
                "SANDBOX: the cloud, its machines and their kube-apiservers are SIMULATED. Nothing real runs on them."
                + ("\nDOCKER: clusters on the cloud `docker` are real, in containers." if stack.docker else "")
            ),
            style="bold yellow",
            expand=False,
        )
    )
    rows = [
        (part, str(getattr(stack.layout.ports, part)), str(stack.pid(part)), str(stack.log(part))) for part in PARTS
    ]
    table(console, ("PART", "PORT", "PROCESS", "LOG"), rows)
    credentials = stack.state_dir / CREDENTIALS
    for line in (
        "",
        f"UI           {stack.url}   (open it in a browser)",
        f"API          {stack.url}/v1   (described in {stack.url}/openapi.json)",
        f"Token        in {credentials}; caravan finds it from this directory",
        f"DNS zone     127.0.0.1:{stack.layout.ports.zone}",
        "",
        "Next, in another terminal:",
        f"  caravan cluster create demo {'--cloud docker ' if stack.docker else ''}--wait",
        "  caravan cluster kubeconfig demo --role admin -f demo.kubeconfig",
        "  kubectl --kubeconfig demo.kubeconfig get nodes",
        "",
        "Ctrl-C stops everything.",
    ):
        say(console, line)


def show_tail(error: StackError) -> None:
    """Print the end of the log of the part at fault."""
    if error.tail:
        say(stderr(), f"The end of {error.part}'s log:\n{error.tail}")


def _chosen(ports: str | None, offset: int) -> Ports | Literal["auto"] | None:
    if ports not in {None, "auto"}:
        raise UsageProblem(f"--ports knows only `auto`, not {ports!r}.")
    if offset and ports:
        raise UsageProblem("Give either --ports auto or --port-offset, not both.")
    if ports:
        return "auto"
    return Ports().moved_by(offset) if offset else None


def _checked(network: str | None) -> str | None:
    if network is not None and not re.fullmatch(r"127\.(\d{1,3})\.0\.0/16", network):
        raise UsageProblem(f"--network is 127.N.0.0/16, such as 127.65.0.0/16, not {network!r}.")
    return network
