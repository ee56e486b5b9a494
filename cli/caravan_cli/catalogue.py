"""`caravan versions`, `clouds` and `whoami`: what is on offer, and to whom."""

import typer

from caravan_cli import options
from caravan_cli.render import Output, document, stdout, table
from caravan_cli.session import client


def versions(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the Kubernetes versions on offer, newest first."""
    with client(ctx) as api:
        found = api.versions()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
    else:
        typer.echo("\n".join(found), nl=bool(found))


def clouds(ctx: typer.Context, output: options.OutputForm = Output.TABLE) -> None:
    """List the clouds, their machine types and what they still grant."""
    with client(ctx) as api:
        found = api.clouds()
    if output in {Output.JSON, Output.YAML}:
        document(found, output)
        return
    rows = []
    for cloud in found:
        types = ", ".join(f"{t['name']} ({t['cpus']} CPUs, {t['memory_mib']} MiB)" for t in cloud["machine_types"])
        limit = cloud["quota"].get("machines_limit")
        quota = f"{cloud['quota'].get('machines_used', 0)} of {'any number' if limit is None else limit}"
        kind = f"{cloud['kind']}{' (simulated)' if cloud['simulated'] else ''}"
        virtual_ips = ", ".join(cloud.get("virtual_ips", ())) or "none"
        sleeps = "yes" if cloud.get("stops_machines") else "no"
        rows.append((cloud["cloud"], kind, quota, types, sleeps, virtual_ips))
    table(stdout(), ("CLOUD", "KIND", "MACHINES", "MACHINE TYPES", "CAN SLEEP", "VIRTUAL IPS"), rows)


def whoami(ctx: typer.Context, output: options.OutputForm = Output.YAML) -> None:
    """Show whom the API takes you for."""
    with client(ctx) as api:
        document(api.whoami(), output if output is Output.JSON else Output.YAML)
