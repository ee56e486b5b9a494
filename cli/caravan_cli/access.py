"""`caravan cluster kubeconfig` and `credential`: ways into a cluster, for people and for their kubectl."""

import os
import shutil
import sys
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from caravan_cli import credential_cache, exec_credential, options
from caravan_cli.client import Client
from caravan_cli.context import found_again
from caravan_cli.credential_cache import Credential, credential_of, place_of
from caravan_cli.errors import UsageProblem
from caravan_cli.kubeconfigs import LONGEST_S, SHORTEST_S, AccessRole, Plugin, with_plugin
from caravan_cli.outcome import tell
from caravan_cli.private_files import write_private
from caravan_cli.session import client
from caravan_cli.views import Cluster, Kubeconfig
from caravan_shared.contracts.cluster_oidc import Oidc

RoleOption = Annotated[AccessRole, typer.Option("--role", help="What it allows.", case_sensitive=False)]
TtlOption = Annotated[int, typer.Option("--ttl", min=SHORTEST_S, max=LONGEST_S, help="Lifetime, seconds.")]


def kubeconfig(
    ctx: typer.Context,
    name: options.Name,
    role: RoleOption = AccessRole.VIEWER,
    ttl: TtlOption = 3600,
    refreshing: Annotated[
        bool,
        typer.Option("--exec", help="Hold no credentials: kubectl has caravan get them, each for that lifetime."),
    ] = False,
    oidc: Annotated[
        bool,
        typer.Option("--oidc", help="Hold no credentials: kubectl has you sign in, where the cluster is made for it."),
    ] = False,
    file: Annotated[
        str, typer.Option("--file", "-f", help="File to write, readable by you alone; `-` for the output.")
    ] = "-",
) -> None:
    """Get a kubeconfig of your own: good for a limited time, or one that gets its credentials itself.

    Examples:

      caravan cluster kubeconfig demo --role admin -f demo.kubeconfig && kubectl --kubeconfig demo.kubeconfig get nodes

      caravan cluster kubeconfig demo --exec -f ~/.kube/config
    """
    if refreshing and oidc:
        raise UsageProblem("Give either --exec or --oidc.")
    with client(ctx) as api:
        if oidc:
            text, told = _signing_in(api, api.cluster(name))
        elif refreshing:
            text, told = _refreshing(api, api.cluster(name), role, ttl)
        else:
            text, told = _issued(api.kubeconfig(name, role=role, ttl_s=ttl), name, role)
    if file == "-":
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        write_private(Path(file), text)
    tell(told)


def credential(
    ctx: typer.Context,
    name: options.Name,
    role: RoleOption = AccessRole.VIEWER,
    ttl: TtlOption = 3600,
) -> None:
    """Print credentials for kubectl, which runs this itself: see `caravan cluster kubeconfig --exec`.

    The answer is an ExecCredential of client.authentication.k8s.io. It is kept in CARAVAN_CACHE or ~/.cache/caravan,
    for you alone, until shortly before it expires.
    """
    version = exec_credential.asked_version(os.environ)
    with client(ctx) as api:

        def ask() -> Credential:
            return credential_of(api.kubeconfig(name, role=role, ttl_s=ttl), datetime.now(UTC))

        found = credential_cache.at_hand(place_of(api.target, name, role, ttl), ask)
    typer.echo(
        exec_credential.document(version, certificate=found.certificate, key=found.key, expires_at=found.expires_at)
    )


def _issued(issued: Kubeconfig, name: str, role: AccessRole) -> tuple[str, str]:
    until = f"{issued.expires_at.astimezone():%H:%M:%S}"
    return issued.kubeconfig, f"{role.capitalize()} of {name} until {until} (grant {issued.grant_id})."


def _refreshing(api: Client, cluster: Cluster, role: AccessRole, ttl_s: int) -> tuple[str, str]:
    """What kubectl runs says all that matters itself: it must do the same in any directory and any shell."""
    issued = api.kubeconfig(cluster.id, role=role, ttl_s=ttl_s)
    target = replace(api.target, team=cluster.team)
    credential_cache.keep(place_of(target, cluster.id, role, ttl_s), credential_of(issued, datetime.now(UTC)))
    told = ("--url", target.url, "--team", cluster.team)
    wanted = ("cluster", "credential", cluster.id, "--role", role.value, "--ttl", str(ttl_s))
    plugin = Plugin(
        command=(*_ourselves(), *told, *wanted),
        hint="This kubeconfig gets its credentials from the caravan command. Install it (caravan-cli), and write the\n"
        f"kubeconfig anew: caravan cluster kubeconfig {cluster.name} --exec",
        env=found_again(target),
    )
    kept = (
        "Your token stays where it is"
        if target.token_file or target.login
        else "Your token is not in it: kubectl needs CARAVAN_TOKEN, or `token` in ~/.config/caravan/config.yaml"
    )
    return with_plugin(issued.kubeconfig, plugin), f"kubectl is {role} of {cluster.name} by itself. {kept}."


def _signing_in(api: Client, cluster: Cluster) -> tuple[str, str]:
    if cluster.spec.get("oidc") is None:
        raise UsageProblem(
            f"Nobody can sign in to the cluster {cluster.name}: it was made without `oidc` in its spec, which "
            "cannot be added later. Use --exec."
        )
    oidc = Oidc.model_validate(cluster.spec["oidc"])
    # Only where it is and what to trust is of use: what comes with it is thrown away, and is void in a minute.
    issued = api.kubeconfig(cluster.id, role=AccessRole.VIEWER, ttl_s=SHORTEST_S)
    plugin = Plugin(
        command=("kubectl", "oidc-login", "get-token", *_login_flags(oidc)),
        hint="Signing in needs kubelogin (https://github.com/int128/kubelogin):\n  kubectl krew install oidc-login",
        asks_people=True,
    )
    return with_plugin(issued.kubeconfig, plugin), f"kubectl has you sign in at {oidc.issuer_url}."


def _login_flags(oidc: Oidc) -> tuple[str, ...]:
    flags = [f"--oidc-issuer-url={oidc.issuer_url}", f"--oidc-client-id={oidc.client_id}"]
    flags += [f"--oidc-extra-scope={scope}" for scope in oidc.extra_scopes]
    if oidc.ca_certificate:
        flags.append(f"--certificate-authority-data={b64encode(oidc.ca_certificate.encode()).decode()}")
    return tuple(flags)


def _ourselves() -> tuple[str, ...]:
    """How kubectl calls us: by name where that is found, by its place where a virtual environment hides it."""
    if sys.prefix == sys.base_prefix and shutil.which("caravan"):
        return ("caravan",)
    return sys.executable, "-m", "caravan_cli"
