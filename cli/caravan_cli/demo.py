"""`caravan demo`: the whole main job once: create, look inside, scale, health, delete.

It makes a stack of its own for that, or takes the installation that runs already.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import urllib3.exceptions
import yaml
from rich.console import Console

from caravan_cli.client import Client
from caravan_cli.context import Target
from caravan_cli.errors import CliError, Unavailable
from caravan_cli.progress import progress_on
from caravan_cli.render import CLUSTER_HEADS, NODE_HEADS, cluster_row, node_row, say, stderr, stdout, table
from caravan_cli.session import client
from caravan_cli.up import Stack, StackError
from caravan_cli.up.clouds import CloudOption, Clouds, MirrorOption, engine
from caravan_cli.up.docker import Docker
from caravan_cli.up.layout import FILE as STACK_FILE
from caravan_cli.up.signals import stopped_at_the_end
from caravan_cli.views import Cluster
from caravan_cli.waiting import until_deleted, until_healthy
from caravan_shared.contracts.spec import Cni
from caravan_shared.contracts.states import ClusterPhase, Verdict

NAME = "demo"
# Each step takes seconds on the sandbox, a minute or two with real clusters, and some times as long on a busy machine.
STEP_TIMEOUT_S = {Clouds.SANDBOX: 180.0, Clouds.DOCKER: 900.0}
OFFER_TIMEOUT_S = 30.0  # the bootstrapper and the provisioner say what they offer when they start
LOG_LINES = 40


@dataclass
class Story:
    """What was done and how long each part took."""

    console: Console
    cloud: Clouds
    step: str = "nothing yet"
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def patience_s(self) -> float:
        """How long a step may take, seconds."""
        return STEP_TIMEOUT_S[self.cloud]

    @contextmanager
    def tell(self, step: str) -> Iterator[None]:
        """Announce a step and time it."""
        self.step = step
        say(self.console, f"\n{len(self.seconds) + 1}. {step}", style="bold")
        started = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - started


def demo(
    ctx: typer.Context,
    state_dir: Annotated[Path, typer.Option(help="Directory of the demo's own stack; made afresh.")] = Path(
        ".caravan/demo"
    ),
    cloud: CloudOption = Clouds.SANDBOX,
    mirror: MirrorOption = None,
    running: Annotated[
        bool, typer.Option("--running", help="On the installation that runs already, as your token reaches it.")
    ] = False,
) -> None:
    """Show the main job on a stack of its own: create a cluster, look inside, scale it, see its health, delete it.

    Examples:

      caravan demo

      caravan demo --cloud docker

      CARAVAN_STATE_DIR=.caravan/compose caravan demo --running
    """
    story = Story(stdout(), cloud)
    if running:
        with client(ctx) as api:
            _main_job(api, story)
        _sum_up(story, (f"The installation runs on; the cluster {NAME} is gone.",))
    else:
        _on_a_stack_of_its_own(story, state_dir, engine(cloud, mirror))


def _on_a_stack_of_its_own(story: Story, state_dir: Path, docker: Docker | None) -> None:
    _make_afresh(state_dir)
    stack = Stack(state_dir, ports="auto", docker=docker, say=lambda text: say(stderr(), text))
    with stopped_at_the_end(stack):
        try:
            with story.tell(f"Start NATS, the five services and {'this Docker' if docker else 'a SIMULATED'} cloud"):
                stack.start()
                say(story.console, f"They run; the API is {stack.url}, their logs are in {stack.log('api').parent}.")
            with stack.tended(), Client(_target(stack)) as api:
                _main_job(api, story)
        except CliError as error:
            _explain(story, stack, error)
            raise
    _sum_up(
        story,
        (
            f"Everything is stopped again; what the services kept and logged is in {state_dir}.",
            "Go on with a stack that stays:",
            "  make up                                  (or: .venv/bin/caravan up)",
            "  .venv/bin/caravan cluster create demo --wait",
            "  .venv/bin/caravan cluster --help",
        ),
    )


def _target(stack: Stack) -> Target:
    return Target(stack.url, stack.token, None, "the demo's stack")


def _main_job(api: Client, story: Story) -> None:
    console = story.console
    with story.tell("Ask for a cluster of 1 control-plane node and 2 workers"):
        spec = {
            "version": _offered_version(api),
            "cloud": story.cloud,
            "network": {"cni": Cni.FLANNEL},  # the lightest; a laptop has to carry it
            "control_plane": {"count": 1},
            "workers": [{"name": "workers", "count": 2}],
        }
        cluster = api.create(NAME, spec)
        cluster = until_healthy(api, cluster, progress_on(console), timeout_s=story.patience_s)
    with story.tell("Read its nodes with the kubernetes client, through a kubeconfig issued for one hour"):
        _show_nodes(api, cluster, console)
    with story.tell("Scale the workers to 4"):
        cluster = until_healthy(
            api, api.scale(cluster.id, "workers", 4), progress_on(console), timeout_s=story.patience_s
        )
        _show_nodes(api, cluster, console)
    with story.tell("See its health"):
        cluster = until_healthy(api, cluster, progress_on(console), timeout_s=story.patience_s)
        table(console, CLUSTER_HEADS, [cluster_row(cluster, datetime.now(UTC), wide=False)])
        table(console, NODE_HEADS, [node_row(node) for node in api.nodes(cluster.id, {})])
    with story.tell("Delete it"):
        until_deleted(api, api.delete(cluster.id), progress_on(console), timeout_s=story.patience_s)
        say(console, "Its machines, its name and its credentials are gone.")


def _offered_version(api: Client) -> str:
    deadline = time.monotonic() + OFFER_TIMEOUT_S
    while time.monotonic() < deadline:
        versions = api.versions()
        if versions and api.clouds():
            return versions[0]
        time.sleep(0.2)
    raise Unavailable("No Kubernetes version or no cloud is on offer.")


def _show_nodes(api: Client, cluster: Cluster, console: Console) -> None:
    issued = api.kubeconfig(cluster.id, role="admin", ttl_s=3600)
    nodes = _nodes_inside(yaml.safe_load(issued.kubeconfig))
    rows = [(node.metadata.name, _ready(node), node.status.node_info.kubelet_version) for node in nodes]
    table(console, ("NODE", "STATUS", "VERSION"), rows)
    wanted = cluster.nodes.wanted
    if len(rows) != wanted:
        raise CliError(f"The cluster's kube-apiserver lists {len(rows)} nodes, not {wanted}.")


def _nodes_inside(kubeconfig: dict[str, Any]) -> list[Any]:
    # Here, because it takes half a second that no other command should cost.
    import kubernetes.client
    import kubernetes.config

    try:
        with kubernetes.config.new_client_from_config_dict(kubeconfig) as connection:  # type: ignore[no-untyped-call]
            return list(kubernetes.client.CoreV1Api(connection).list_node(_request_timeout=10).items)
    except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
        raise CliError(f"The cluster's kube-apiserver did not list its nodes: {error}") from error


def _ready(node: Any) -> str:
    conditions = {condition.type: condition.status for condition in node.status.conditions or ()}
    return "Ready" if conditions.get("Ready") == "True" else "NotReady"


def _make_afresh(state_dir: Path) -> None:
    """Empty the directory, if it is one of ours or not there yet."""
    if not state_dir.exists():
        return
    if not (state_dir / STACK_FILE).exists() and any(state_dir.iterdir()):
        raise CliError(f"{state_dir} is no state directory of a stack, so the demo leaves it alone. Name another.")
    # Taking the claim refuses a directory that is in use, and ends what a killed demo left running.
    Stack(state_dir).reclaim()
    shutil.rmtree(state_dir)


def _explain(story: Story, stack: Stack, error: CliError) -> None:
    part = error.part if isinstance(error, StackError) and error.part else _part_at_fault(stack)
    console = stderr()
    say(console, f"\nThe demo failed at: {story.step}", style="bold red")
    say(console, f"The end of {part}'s log ({stack.log(part)}):")
    say(console, stack.log_tail(part, LOG_LINES))


def _part_at_fault(stack: Stack) -> str:
    """The service whose turn it was, by the cluster's phase and health."""
    try:
        with Client(_target(stack)) as api:
            cluster = api.cluster(NAME)
    except CliError:
        return "api"
    if cluster.phase is ClusterPhase.READY:
        return "api" if cluster.health and cluster.health.verdict == Verdict.HEALTHY else "health"
    machines_run = cluster.nodes.made >= cluster.nodes.wanted and cluster.phase is not ClusterPhase.DELETING
    return "bootstrapper" if machines_run else "provisioner"


def _sum_up(story: Story, afterwards: Iterable[str]) -> None:
    console = story.console
    say(console, "\nDone.", style="bold green")
    table(console, ("STEP", "SECONDS"), [(step, f"{seconds:.1f}") for step, seconds in story.seconds.items()])
    for line in ("", *afterwards):
        say(console, line)
