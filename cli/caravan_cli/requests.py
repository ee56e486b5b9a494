"""`caravan cluster create`, `plan`, `scale`, `upgrade`, `delete` and `retry`: what asks for a change."""

import json
from typing import Annotated

import typer
from rich.text import Text

from caravan_cli import durations, options, specs
from caravan_cli.client import Client, Json
from caravan_cli.errors import NotFound, Unavailable, UsageProblem
from caravan_cli.outcome import settle, tell
from caravan_cli.progress import progress_on
from caravan_cli.render import Output, document, say, stderr, stdout, table
from caravan_cli.session import client
from caravan_cli.specs import SpecFlags
from caravan_cli.views import Plan
from caravan_cli.waiting import until_deleted

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The cluster's name; may stand in the file.", show_default=False)
]


def create(
    ctx: typer.Context,
    name: OptionalName = None,
    version: options.Version = None,
    cloud: options.CloudNames = None,
    control_planes: options.ControlPlanes = None,
    workers: options.Workers = None,
    machine_type: options.MachineTypes = None,
    etcd: options.EtcdNodes = None,
    cni: options.PodNetwork = None,
    pod_cidr: options.PodCidr = None,
    service_cidr: options.ServiceCidr = None,
    virtual_ip: options.VirtualIp = None,
    drain_timeout: options.DrainTimeout = None,
    force_drain: options.ForceDrain = None,
    file: options.SpecFile = None,
    lifetime_s: Annotated[
        int | None, durations.option("--lifetime", "Have it deleted after so long. Default: it stays.")
    ] = None,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    dry_run: DryRun = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Ask for a cluster.

    Examples:

      caravan cluster create demo --wait

      caravan cluster create try --lifetime 8h

      caravan cluster create big --control-planes 3 --workers 10 --workers gpu=2 --machine-type gpu=large

      caravan cluster create mixed --cloud docker --cloud workers=metal --machine-type workers=large

      caravan cluster create -f cluster.yaml --dry-run
    """
    flags = SpecFlags(
        version=version,
        clouds=tuple(cloud or ()),
        control_planes=control_planes,
        workers=tuple(workers or ()),
        machine_types=tuple(machine_type or ()),
        etcd=etcd,
        cni=cni,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        virtual_ip=virtual_ip,
        drain_timeout=drain_timeout,
        force_drain=force_drain,
    )
    with client(ctx) as api:
        name, spec = _asked(name, flags, file)
        spec = with_version(api, spec)
        if dry_run:
            _show_plan(api.plan("create", name=name, spec=spec), output)
            return
        cluster = api.create(name, spec, lifetime_s)
        tell(f"Cluster {cluster.name} is asked for.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def plan(
    ctx: typer.Context,
    name: OptionalName = None,
    version: options.Version = None,
    cloud: options.CloudNames = None,
    control_planes: options.ControlPlanes = None,
    workers: options.Workers = None,
    machine_type: options.MachineTypes = None,
    etcd: options.EtcdNodes = None,
    cni: options.PodNetwork = None,
    pod_cidr: options.PodCidr = None,
    service_cidr: options.ServiceCidr = None,
    virtual_ip: options.VirtualIp = None,
    drain_timeout: options.DrainTimeout = None,
    force_drain: options.ForceDrain = None,
    file: options.SpecFile = None,
    delete: Annotated[bool, typer.Option("--delete", help="Plan the end of the cluster NAME.")] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Say what creating a cluster, or changing or deleting the one of that name, would do; do nothing.

    Examples:

      caravan cluster plan demo --workers 4

      caravan cluster plan demo --delete
    """
    flags = SpecFlags(
        version=version,
        clouds=tuple(cloud or ()),
        control_planes=control_planes,
        workers=tuple(workers or ()),
        machine_types=tuple(machine_type or ()),
        etcd=etcd,
        cni=cni,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        virtual_ip=virtual_ip,
        drain_timeout=drain_timeout,
        force_drain=force_drain,
    )
    with client(ctx) as api:
        if delete:
            _show_plan(api.plan("delete", cluster=_named(name)), output)
            return
        name, spec = _asked(name, flags, file)
        try:
            planned = api.plan("change", cluster=api.cluster(name).id, spec=spec)
        except NotFound:
            planned = api.plan("create", name=name, spec=with_version(api, spec))
        _show_plan(planned, output)


def scale(
    ctx: typer.Context,
    name: options.Name,
    sets: Annotated[
        list[str], typer.Argument(metavar="SET=COUNT…", help="Node sets and how many nodes each shall have.")
    ],
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Ask for another number of nodes in node sets.

    Example:

      caravan cluster scale demo workers=4 --wait
    """
    wanted = specs.counts(sets)
    with client(ctx) as api:
        for node_set, count in wanted.items():
            cluster = api.scale(name, node_set, count)
            tell(f"Set {node_set} of cluster {cluster.name} shall have {count} nodes.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def upgrade(
    ctx: typer.Context,
    name: options.Name,
    version: Annotated[str, typer.Argument(help="The Kubernetes version to go to; see `caravan versions`.")],
    drain_timeout: options.DrainTimeout = None,
    force_drain: options.ForceDrain = None,
    now: Annotated[bool, typer.Option("--now", help="Wait for no maintenance window of the cluster's.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = 3600,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Ask for another Kubernetes version; several minors higher is fine where every one between is on offer.

    Examples:

      caravan cluster upgrade demo 1.34.2 --wait

      caravan cluster upgrade demo 1.34.2 --drain-timeout 60 --force-drain

      caravan cluster upgrade demo 1.34.2 --now
    """
    patch: Json = {"version": version}
    if how := specs.drain(drain_timeout, force_drain):
        patch["drain"] = how
    if now:
        patch["maintenance"] = {"at_once": version}
    with client(ctx) as api:
        cluster = api.change(name, patch, etag=api.cluster(name).etag)
        tell(f"Cluster {cluster.name} shall run {version}.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def delete(
    ctx: typer.Context,
    name: options.Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = 900,
) -> None:
    """Ask for a cluster's end: its machines, its name and every kubeconfig.

    Example:

      caravan cluster delete demo --yes --wait
    """
    with client(ctx) as api:
        cluster = api.cluster(name)
        if not yes:
            typer.confirm(
                f"Delete {cluster.name} of team {cluster.team} with {cluster.nodes.made} machines?", abort=True
            )
        cluster = api.delete(cluster.id)
        tell(f"Cluster {cluster.name} is being deleted.")
        if wait:
            until_deleted(api, cluster, progress_on(stderr()), timeout_s=timeout)
            tell(f"Cluster {cluster.name} is gone.")


def retry(
    ctx: typer.Context,
    name: options.Name,
    wait: options.Wait = False,
    timeout: options.Timeout = 1800,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Try again after a failure, once what caused it is mended.

    Example:

      caravan cluster retry demo --wait
    """
    with client(ctx) as api:
        cluster = api.retry(name)
        tell(f"Cluster {cluster.name} is tried again.")
        settle(api, cluster, output, wait=wait, timeout=timeout)


def _asked(name: str | None, flags: SpecFlags, file: str | None) -> tuple[str, Json]:
    """The name and spec that flags or a file ask for."""
    if file and flags != SpecFlags():
        raise UsageProblem("Give either a file or flags for the spec, not both.")
    request: Json = specs.from_file(file) if file else {"spec": specs.from_flags(flags)}
    return _named(name or request.get("name")), request["spec"] or {}


def with_version(api: Client, spec: Json) -> Json:
    """The spec, with the newest version on offer where it names none."""
    if "version" in spec:
        return spec
    offered = api.versions()
    if not offered:
        raise Unavailable("No Kubernetes version is on offer yet; try again in a moment, or name one with --version.")
    return {"version": offered[0], **spec}


def _named(name: str | None) -> str:
    if not name:
        raise UsageProblem("Which cluster? Give its NAME.")
    return name


def _show_plan(planned: Plan, output: Output) -> None:
    if output in {Output.JSON, Output.YAML}:
        document(planned, output)
        return
    console = stdout()
    heads = ("SET", "CLOUD", "MACHINE TYPE", "NOW", "WANTED", "CREATE", "REMOVE", "CHANGE")
    rows = [
        (
            s.name,
            s.cloud,
            s.machine_type,
            str(s.current),
            str(s.wanted),
            f"+{s.create}",
            f"-{s.remove}",
            "; ".join(s.change),
        )
        for s in planned.node_sets
    ]
    table(console, heads, rows)
    for quota in planned.quotas or (planned.quota,):
        free = "no limit" if quota.free is None else f"{quota.free} free"
        where = f" of {quota.cloud}" if len(planned.quotas) > 1 else ""
        verdict = "" if quota.fits else ": it does NOT fit"
        console.print(Text(f"Quota{where}: {quota.need} {quota.resource} needed, {free}{verdict}."))
    if planned.upgrade:
        say(console, f"Upgrade: {planned.upgrade}.")
    if planned.virtual_ip:
        say(console, f"Its kube-apiserver is reached at {planned.virtual_ip}, which one of its control planes carries.")
    if tuning := {name: value for name, value in (planned.tuning or {}).items() if value is not None}:
        say(
            console,
            "Set for its size (caravan's docs/large-clusters.md says why; `tuning` in a spec sets it otherwise):",
        )
        table(console, ("  VALUE", "IS"), [(f"  {name}", json.dumps(value)) for name, value in tuning.items()])
    for sentence in planned.advice:
        say(console, f"Advice: {sentence}")
    if planned.paused:
        say(console, "The cluster is paused: nothing of it will be done before it is resumed.")
    simulated = " (simulated machines)" if planned.simulated else ""
    say(console, f"It usually takes about {planned.estimate_s:.0f} s{simulated}. Nothing was done.")
