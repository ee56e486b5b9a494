"""`caravan pool`: clusters of one template that are kept ready, to be leased."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from caravan_cli import durations, options, pool_pages, specs
from caravan_cli.client import Json
from caravan_cli.errors import UsageProblem
from caravan_cli.outcome import tell
from caravan_cli.render import Output, stdout
from caravan_cli.requests import with_version
from caravan_cli.session import client
from caravan_cli.specs import SpecFlags
from caravan_cli.views import Pool

app = typer.Typer(no_args_is_help=True, help="Clusters that are kept ready to be leased: see `caravan lease`.")

Name = Annotated[str, typer.Argument(help="The pool's name or id.", show_default=False)]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The pool's name; may stand in the file.", show_default=False)
]
Spares = Annotated[int | None, typer.Option(help="Clusters to keep ready.")]
MaxSize = Annotated[int | None, typer.Option(help="Clusters at once, spare and leased.")]
MaxMaking = Annotated[int | None, typer.Option(help="Clusters in the making at once.")]
LeaseTime = Annotated[int | None, durations.option("--lease", "How long a lease lasts that says nothing else.")]
MaxLease = Annotated[int | None, durations.option("--max-lease", "How long a lease may last, extended or not.")]
MaxKeep = Annotated[
    int | None, durations.option("--max-keep", "How long a cluster may be kept for debugging after its lease.")
]
SpareAge = Annotated[int | None, durations.option("--spare-age", "Spares that are older are replaced.")]
HibernateShare = Annotated[
    int | None, typer.Option(min=0, max=100, help="Per cent of the spares that sleep until they are needed.")
]
SharedWith = Annotated[
    list[str] | None,
    typer.Option(metavar="TEAM", help="Team that may take from it, or '*' for all. Repeat; '' for none."),
]
MaxOfTeam = Annotated[
    int | None, typer.Option("--max-leases-per-team", min=1, help="Clusters that one team may hold and keep at once.")
]


@app.command()
def create(
    ctx: typer.Context,
    name: OptionalName = None,
    spares: Spares = None,
    max_size: MaxSize = None,
    max_making: MaxMaking = None,
    lease_s: LeaseTime = None,
    max_lease_s: MaxLease = None,
    max_keep_s: MaxKeep = None,
    spare_age_s: SpareAge = None,
    hibernate_share: HibernateShare = None,
    shared_with: SharedWith = None,
    max_leases_per_team: MaxOfTeam = None,
    version: options.Version = None,
    cloud: options.CloudNames = None,
    control_planes: options.ControlPlanes = None,
    workers: options.Workers = None,
    machine_type: options.MachineTypes = None,
    etcd: options.EtcdNodes = None,
    cni: options.PodNetwork = None,
    file: options.SpecFile = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Keep clusters ready, all made as the flags say or as `template` in the file's spec.

    Examples:

      caravan pool create ci --spares 3 --max-size 12 --control-planes 1 --workers 2 --lease 1h

      caravan pool create -f ci.yaml
    """
    flags = SpecFlags(
        version=version,
        clouds=tuple(cloud or ()),
        control_planes=control_planes,
        workers=tuple(workers or ()),
        machine_types=tuple(machine_type or ()),
        etcd=etcd,
        cni=cni,
    )
    rules = _told(
        spares=spares,
        max_size=max_size,
        max_making=max_making,
        lease_s=lease_s,
        max_lease_s=max_lease_s,
        max_keep_s=max_keep_s,
        max_spare_age_s=spare_age_s,
        hibernate_share=hibernate_share,
        shared_with=None if shared_with is None else [team for team in shared_with if team],
        max_leases_per_team=max_leases_per_team,
    )
    request: Json = _from_file(file, flags, rules) if file else {"spec": {"template": specs.from_flags(flags), **rules}}
    name = name or request.get("name")
    if not name:
        raise UsageProblem("Which pool? Give its NAME.")
    with client(ctx) as api:
        spec = {**request["spec"], "template": with_version(api, request["spec"].get("template", {}))}
        pool = api.create_pool(name, spec)
    tell(f"Pool {pool.name} keeps {pool.spares_wanted} clusters ready. See: caravan pool describe {pool.name}")
    _show_to_program(pool, output)


@app.command("list")
def list_pools(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List pools. SPARES is how many are ready of how many are wanted.

    Example:

      caravan pool list -o wide
    """
    with client(ctx) as api:
        found = list(api.pools())
    pool_pages.show_pools(found, output, datetime.now(UTC))


@app.command()
def get(ctx: typer.Context, name: Name, output: options.OutputForm = Output.YAML) -> None:
    """Show all that is known of a pool."""
    with client(ctx) as api:
        pool_pages.show_pool(api.pool(name), output, datetime.now(UTC))


@app.command()
def describe(ctx: typer.Context, name: Name) -> None:
    """Tell all that is worth knowing about a pool: its clusters, its queue, its trouble, who has leases.

    Example:

      caravan pool describe ci
    """
    with client(ctx) as api:
        pool = api.pool(name)
        leases = list(api.leases({"pool": pool.name}))
    pool_pages.describe(stdout(), pool, leases, datetime.now(UTC))


@app.command("set")
def change(
    ctx: typer.Context,
    name: Name,
    spares: Spares = None,
    max_size: MaxSize = None,
    max_making: MaxMaking = None,
    lease_s: LeaseTime = None,
    max_lease_s: MaxLease = None,
    max_keep_s: MaxKeep = None,
    spare_age_s: SpareAge = None,
    hibernate_share: HibernateShare = None,
    shared_with: SharedWith = None,
    max_leases_per_team: MaxOfTeam = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Kubernetes version.", rich_help_panel="Spec")
    ] = None,
    cloud: options.CloudNames = None,
    control_planes: options.ControlPlanes = None,
    workers: options.Workers = None,
    machine_type: options.MachineTypes = None,
    etcd: options.EtcdNodes = None,
    cni: options.PodNetwork = None,
    at_once: Annotated[
        bool, typer.Option("--now", help="Replace spares of an earlier template without waiting for a window.")
    ] = False,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", help="YAML file with what shall be otherwise in the spec, as a merge patch."),
    ] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Change what is given, and nothing else. Spares made as before are replaced, in the template's maintenance windows
    if it has any; leases run on.

    Examples:

      caravan pool set ci --spares 5

      caravan pool set ci --version 1.34.2
    """
    flags = SpecFlags(
        version=version,
        clouds=tuple(cloud or ()),
        control_planes=control_planes,
        workers=tuple(workers or ()),
        machine_types=tuple(machine_type or ()),
        etcd=etcd,
        cni=cni,
    )
    rules = _told(
        spares=spares,
        max_size=max_size,
        max_making=max_making,
        lease_s=lease_s,
        max_lease_s=max_lease_s,
        max_keep_s=max_keep_s,
        max_spare_age_s=spare_age_s,
        hibernate_share=hibernate_share,
        shared_with=None if shared_with is None else [team for team in shared_with if team],
        max_leases_per_team=max_leases_per_team,
    )
    if file and at_once:
        raise UsageProblem("Say it in the file, as template.maintenance.at_once: it names a version.")
    patch = _from_file(file, flags, rules)["spec"] if file else rules
    if not patch and flags == SpecFlags() and not at_once:
        raise UsageProblem("Change what? Give at least one option; see --help.")
    with client(ctx) as api:
        pool = api.pool(name)
        if flags != SpecFlags() or at_once:
            patch = {**patch, "template": template_patch(pool.spec.get("template", {}), flags, at_once=at_once)}
        pool = api.change_pool(pool.id, patch, etag=pool.etag)
    tell(f"Pool {pool.name} keeps {pool.spares_wanted} clusters ready. See: caravan pool describe {pool.name}")
    _show_to_program(pool, output)


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")] = False,
) -> None:
    """Delete a pool: its spares at once, whoever waits is told, leased clusters stay to the end of their leases.

    Example:

      caravan pool delete ci --yes
    """
    with client(ctx) as api:
        pool = api.pool(name)
        if not yes:
            spares = pool.clusters.ready + pool.clusters.making
            typer.confirm(f"Delete {pool.name} of team {pool.team} with {spares} spares?", abort=True)
        pool = api.delete_pool(pool.id, etag=pool.etag)
    tell(f"Pool {pool.name} is being deleted; {pool.clusters.leased} leased clusters stay to the end of their leases.")


def template_patch(template: Json, flags: SpecFlags, *, at_once: bool = False) -> Json:
    """The flags as a merge patch of a template. It replaces lists whole, so worker sets keep what is not given.

    `at_once`: the roll to the version that the template then has waits for no window.
    """
    sets = {each["name"]: each for each in template.get("workers", ())}
    if (flags.machine_types or flags.clouds) and not flags.workers:
        flags = replace(flags, workers=tuple(f"{name}={each['count']}" for name, each in sets.items()))
    patch = specs.from_flags(flags)
    if "workers" in patch:
        patch["workers"] = [{**sets.get(each["name"], {}), **each} for each in patch["workers"]]
    if at_once:
        patch["maintenance"] = {"at_once": patch.get("version", template.get("version"))}
    return patch


def _told(**rules: Any) -> Json:
    """What is told of the pool itself, as far as it is."""
    return {field: value for field, value in rules.items() if value is not None}


def _from_file(file: str, flags: SpecFlags, rules: Json) -> Json:
    if rules or flags != SpecFlags():
        raise UsageProblem("Give either a file or flags for the spec, not both.")
    request = specs.from_file(file)
    if not isinstance(request["spec"], dict) or not isinstance(request["spec"].get("template", {}), dict):
        raise UsageProblem(f"{file} holds no spec of a pool.")
    return request


def _show_to_program(pool: Pool, output: Output) -> None:
    """A person has been told already."""
    if output not in {Output.TABLE, Output.WIDE}:
        pool_pages.show_pool(pool, output, datetime.now(UTC))
