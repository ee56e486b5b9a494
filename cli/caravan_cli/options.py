"""Arguments and options that several commands share, so that they are named and explained the same everywhere."""

from typing import Annotated

import typer

from caravan_cli.render import Output
from caravan_shared.contracts.spec import Cni

_SPEC = "Spec"

Name = Annotated[str, typer.Argument(help="The cluster's name or id.", show_default=False)]
OutputForm = Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is so, showing progress.")]
Timeout = Annotated[float, typer.Option(min=1, help="Longest wait, seconds; the work goes on after it.")]
SpecFile = Annotated[
    str | None,
    typer.Option("--file", "-f", help="YAML file with a spec, or with name and spec; `-` reads standard input."),
]
Version = Annotated[
    str | None,
    typer.Option("--version", help="Kubernetes version; the newest on offer if you name none.", rich_help_panel=_SPEC),
]
CloudNames = Annotated[
    list[str] | None,
    typer.Option(
        "--cloud",
        help="Where the machines come from, see `caravan clouds`: `docker`, or `gpu=metal` for one set. Repeat it.",
        rich_help_panel=_SPEC,
    ),
]
ControlPlanes = Annotated[
    int | None, typer.Option("--control-planes", help="Control-plane nodes; an odd number.", rich_help_panel=_SPEC)
]
Workers = Annotated[
    list[str] | None,
    typer.Option(
        "--workers", help="Worker nodes: `3`, or `gpu=2` for a set of that name. Repeat it.", rich_help_panel=_SPEC
    ),
]
MachineTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--machine-type",
        help="Machine type: `large` for every set, `gpu=large` for one. Repeat it.",
        rich_help_panel=_SPEC,
    ),
]
EtcdNodes = Annotated[
    int | None,
    typer.Option("--etcd", help="Give etcd this many nodes of its own; an odd number.", rich_help_panel=_SPEC),
]
PodNetwork = Annotated[Cni | None, typer.Option("--cni", help="Pod network to install.", rich_help_panel=_SPEC)]
PodCidr = Annotated[str | None, typer.Option("--pod-cidr", help="Addresses of pods, a CIDR.", rich_help_panel=_SPEC)]
DrainTimeout = Annotated[
    int | None,
    typer.Option(
        "--drain-timeout", min=1, help="Seconds a node's pods may take to go elsewhere.", rich_help_panel=_SPEC
    ),
]
ForceDrain = Annotated[
    bool | None,
    typer.Option(
        "--force-drain/--no-force-drain",
        help="After that time delete what a PodDisruptionBudget holds back, instead of failing.",
        rich_help_panel=_SPEC,
    ),
]
ServiceCidr = Annotated[
    str | None, typer.Option("--service-cidr", help="Addresses of services, a CIDR.", rich_help_panel=_SPEC)
]
VirtualIp = Annotated[
    str | None,
    typer.Option(
        "--virtual-ip",
        help="A free address that the cluster is reached at; `caravan clouds` lists where. By default its name "
        "follows the control planes.",
        rich_help_panel=_SPEC,
    ),
]
