"""`caravan machine`: inventories of machines that stand there already, for those who run Caravan."""

from pathlib import Path
from typing import Annotated

import typer

from caravan_cli import entries, options
from caravan_cli.client import Json
from caravan_cli.errors import UsageProblem
from caravan_cli.outcome import tell
from caravan_cli.render import Output, age, document, stdout, table
from caravan_cli.session import client
from caravan_cli.views import Machine
from caravan_shared.contracts.states import InventoryState

app = typer.Typer(
    no_args_is_help=True, help="Physical machines and other SSH hosts: take them in, look at them, let them go."
)

Name = Annotated[str, typer.Argument(help="The machine's name.", show_default=False)]
Labels = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE, for its operators. Repeat it.")]
BmcAddress = Annotated[
    str | None,
    typer.Option("--bmc", help="Its management controller, which speaks Redfish: host, or redfish://host/redfish/v1/…"),
]
BmcUser = Annotated[str | None, typer.Option("--bmc-user", help="Who logs in there.")]
BmcSystem = Annotated[str | None, typer.Option("--bmc-system", help="Which of its systems, where it has several.")]
BmcFingerprint = Annotated[
    str | None, typer.Option(help="SHA-256 of its certificate: that one is believed, whoever signed it.")
]
BmcUnverified = Annotated[
    bool | None,
    typer.Option(
        "--bmc-disable-certificate-verification/--bmc-verify-certificate",
        help="Believe any certificate: whoever stands between learns the password.",
    ),
]
BmcPassword = Annotated[
    str | None,
    typer.Option(
        envvar="CARAVAN_BMC_PASSWORD", help="Kept sealed and never shown again; the variable shows up nowhere."
    ),
]


@app.command("import")
def import_machines(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or YAML; `-` reads YAML from standard input.")],
    cloud: Annotated[str | None, typer.Option(help="The inventory of those rows that name none.")] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Take machines in from a file: all of them, or none and every reason why. Repeating it is fine.

    CSV has a header with name, cloud, address, machine_type, cpus, memory_mib and host_keys (several parted by `;`),
    and if you like ssh_port, ssh_user, disk_gib, labels (`rack=1;room=b`), and bmc_address, bmc_user, bmc_password,
    bmc_system, bmc_fingerprint and bmc_disable_certificate_verification.
    YAML is a list of the same, nested as in the API.

    Examples:

      caravan machine import rack1.csv --cloud metal

      caravan machine import machines.yaml -o json
    """
    rows = [row if "cloud" in row or cloud is None else {**row, "cloud": cloud} for row in entries.from_file(file)]
    with client(ctx) as api:
        found = api.import_machines(rows)
    tell(f"{len(found)} machines are in their inventories. Each is checked now; see `caravan machine list`.")
    _show(found, output)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    cloud: Annotated[str, typer.Option(help="The cloud of kind `static` that it belongs to.")],
    address: Annotated[str, typer.Option(help="Its IP address.")],
    machine_type: Annotated[str, typer.Option(help="Its class, which node sets ask for.")],
    cpus: Annotated[int, typer.Option(min=1)],
    memory_mib: Annotated[int, typer.Option(min=256)],
    host_key: Annotated[
        list[str] | None, typer.Option(help="Public SSH host key, `<type> <base64>`. Repeat it.")
    ] = None,
    host_key_file: Annotated[
        Path | None, typer.Option(help="A file with one, such as a copy of /etc/ssh/ssh_host_ed25519_key.pub.")
    ] = None,
    disk_gib: int = 0,
    ssh_port: int = 22,
    ssh_user: Annotated[str, typer.Option(help="Who Caravan first logs in as.")] = "root",
    label: Labels = None,
    bmc: BmcAddress = None,
    bmc_user: BmcUser = None,
    bmc_password: BmcPassword = None,
    bmc_system: BmcSystem = None,
    bmc_fingerprint: BmcFingerprint = None,
    bmc_unverified: BmcUnverified = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Take one machine in.

    Example:

      caravan machine add rack1-07 --cloud metal --address 10.0.0.7 --machine-type large --cpus 16 --memory-mib 65536
      --host-key-file rack1-07.pub
    """
    keys = [*(host_key or ()), *([entries.host_key(host_key_file)] if host_key_file else ())]
    if not keys:
        raise UsageProblem("Which host key has the machine? Give --host-key or --host-key-file.")
    entry: Json = {
        "name": name,
        "cloud": cloud,
        "address": address,
        "ssh_port": ssh_port,
        "ssh_user": ssh_user,
        "host_keys": keys,
        "machine_type": machine_type,
        "cpus": cpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib,
        "labels": entries.labels(label or []),
        "bmc": entries.bmc(
            address=bmc,
            user=bmc_user,
            password=bmc_password,
            system=bmc_system,
            fingerprint=bmc_fingerprint,
            disable_certificate_verification=bmc_unverified,
        ),
    }
    with client(ctx) as api:
        found = api.import_machines([entry])
    tell(f"Machine {name} is in the inventory {cloud}. It is checked now; see `caravan machine get {name}`.")
    _show(found, output)


@app.command("list")
def list_machines(
    ctx: typer.Context,
    cloud: Annotated[str | None, typer.Option(help="Those of one inventory.")] = None,
    machine_type: Annotated[str | None, typer.Option(help="Those of one class.")] = None,
    state: Annotated[InventoryState | None, typer.Option(help="Those in one state.", case_sensitive=False)] = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List machines, by name.

    Example:

      caravan machine list --state Quarantined
    """
    wanted = {"cloud": cloud, "machine_type": machine_type, "state": state.value if state else None}
    with client(ctx) as api:
        found = api.machines({key: value for key, value in wanted.items() if value})
    _print(found, output)


@app.command()
def get(ctx: typer.Context, name: Name, output: options.OutputForm = Output.YAML) -> None:
    """Show all that is known of a machine."""
    with client(ctx) as api:
        _print([api.machine(name)], output, alone=True)


@app.command()
def change(
    ctx: typer.Context,
    name: Name,
    address: str | None = None,
    machine_type: str | None = None,
    host_key: Annotated[list[str] | None, typer.Option(help="All host keys that it has from now on.")] = None,
    cpus: int | None = None,
    memory_mib: int | None = None,
    disk_gib: int | None = None,
    ssh_port: int | None = None,
    ssh_user: str | None = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; `KEY=` takes it off.")] = None,
    bmc: BmcAddress = None,
    bmc_user: BmcUser = None,
    bmc_password: BmcPassword = None,
    bmc_system: BmcSystem = None,
    bmc_fingerprint: BmcFingerprint = None,
    bmc_unverified: BmcUnverified = None,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Describe a machine otherwise. How it is reached and its class stay while a cluster has it.

    An empty text takes off what is told of its BMC: `--bmc-fingerprint ""`.

    Example:

      caravan machine change rack1-07 --host-key "ssh-ed25519 AAAA…" --label room=
    """
    patch: Json = {
        "address": address,
        "machine_type": machine_type,
        "host_keys": host_key or None,
        "cpus": cpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib,
        "ssh_port": ssh_port,
        "ssh_user": ssh_user,
        "bmc": entries.bmc_patch(
            address=bmc,
            user=bmc_user,
            password=bmc_password,
            system=bmc_system,
            fingerprint=bmc_fingerprint,
            disable_certificate_verification=bmc_unverified,
        ),
    }
    patch = {key: value for key, value in patch.items() if value is not None}
    if label:
        patch["labels"] = {key: value or None for key, value in entries.labels(label).items()}
    if not patch:
        raise UsageProblem("Change what? Give at least one option; see --help.")
    with client(ctx) as api:
        found = api.change_machine(name, patch, etag=str(api.machine(name)["etag"]))
    tell(f"Machine {name} is described anew.")
    _show([found], output)


@app.command()
def remove(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")] = False,
) -> None:
    """Strike a machine off its inventory. Nothing is done to the machine itself."""
    with client(ctx) as api:
        found = Machine.model_validate(api.machine(name))
        if not yes:
            typer.confirm(f"Remove {name} ({found.state}) from the inventory {found.cloud}?", abort=True)
        api.remove_machine(name, etag=found.etag)
    tell(f"Machine {name} is in no inventory any more.")


@app.command()
def release(
    ctx: typer.Context,
    name: Name,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="Wipe what a cluster left on it first; else it is only looked at.")
    ] = False,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """Let a machine out of quarantine: it is checked, and available if all is well.

    Example:

      caravan machine release rack1-07 --wipe
    """
    with client(ctx) as api:
        found = api.release_machine(name, wipe=wipe)
    tell(f"Machine {name} is {'wiped and ' if wipe else ''}checked now; see `caravan machine get {name}`.")
    _show([found], output)


@app.command()
def key(
    ctx: typer.Context, cloud: Annotated[str, typer.Argument(metavar="CLOUD", help="The inventory's cloud.")]
) -> None:
    """Print the public key that the machines of an inventory have to let in.

    Example:

      caravan machine key metal | ssh root@10.0.0.7 'cat >> .ssh/authorized_keys'
    """
    with client(ctx) as api:
        typer.echo(api.operator_key(cloud))


def _show(found: list[Json], output: Output) -> None:
    """Print for a program; a person has been told already."""
    if output not in {Output.TABLE, Output.WIDE}:
        _print(found, output)


def _print(found: list[Json], output: Output, *, alone: bool = False) -> None:
    if output in {Output.JSON, Output.YAML}:
        document(found[0] if alone else found, output)
        return
    machines = [Machine.model_validate(each) for each in found]
    if output is Output.NAME:
        typer.echo("\n".join(machine.name for machine in machines), nl=bool(machines))
        return
    heads = ("NAME", "CLOUD", "TYPE", "ADDRESS", "STATE", "NODE", "POWER", "CHECKED", "REASON")
    rows = [
        (
            machine.name,
            machine.cloud,
            machine.machine_type,
            machine.address,
            machine.state,
            machine.node or "-",
            "bmc" if machine.has_power else "-",
            age(machine.checked_at) if machine.checked_at else "never",
            machine.reason or "-",
        )
        for machine in machines
    ]
    table(stdout(), heads, rows)
