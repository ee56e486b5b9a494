"""`caravan compose`: the secrets of an installation by `compose.yaml`, made once, before its first start.

    .env                     what compose.yaml asks for by name; docker compose finds it by itself
    .caravan/compose/
        nats/                accounts, passwords and the servers' routes, as `caravan nats accounts` keeps them
        zone.key, zone.conf  the key that signs updates of the zone, for dns and for BIND
        credentials          the first admin's token, for this command line

The folder is its owner's alone. The zone's files in it are readable to all, for they are mounted into containers whose
users have other numbers than anybody here.
"""

import base64
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from dotenv import dotenv_values

from caravan_cli.context import CREDENTIALS, write_credentials
from caravan_cli.errors import UsageProblem
from caravan_cli.nats import accounts
from caravan_cli.nats.credentials import nats_url
from caravan_cli.nats.folder import give, kept
from caravan_cli.outcome import tell
from caravan_cli.private_files import write_private
from caravan_cli.up.parts import SERVICES

FOLDER = Path(".caravan/compose")
TEAM = "default"
"""The team of the first admin's token."""

_HEAD = "# Secrets and choices of compose.yaml. Made by `caravan compose secrets`, which keeps what stands here.\n"
_ZONE_KEY = 'key "caravan" {{ algorithm hmac-sha256; secret "{}"; }};\n'

app = typer.Typer(no_args_is_help=True, help="An installation in containers, by compose.yaml.")


@app.callback()
def compose() -> None:
    """Keep `secrets` a command of its own."""


@app.command("secrets")
def write_secrets(
    checkout: Annotated[Path, typer.Option("--dir", help="Where compose.yaml is.")] = Path(),
    sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Run the SIMULATED cloud too, for trying out.")
    ] = True,
    observability: Annotated[
        bool, typer.Option("--observability/--no-observability", help="Run Prometheus, Grafana and Jaeger too.")
    ] = False,
    nats_servers: Annotated[Literal["1", "3"], typer.Option(help="NATS servers; of three, one may be lost.")] = "1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of this machine where the API answers.")] = 8780,
) -> None:
    """Make the secrets that compose.yaml needs. What is there already stays: run it again to choose anew.

    Examples:

      caravan compose secrets && docker compose up --detach --wait

      caravan compose secrets --no-sandbox --nats-servers 3
    """
    folder = checkout / FOLDER
    if not (checkout / "compose.yaml").is_file():
        raise UsageProblem(f"There is no compose.yaml in {checkout.absolute()}. Name its folder with --dir.")
    (folder / "nats").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    had = {name: value for name, value in dotenv_values(checkout / ".env").items() if value is not None}
    nats = kept(folder / "nats") or give(folder / "nats", [TEAM])  # the first admin's team alone, at first
    servers = int(nats_servers)
    values = {
        **had,
        **{name: had.get(name) or secrets.token_urlsafe(32) for name in _passwords()},
        "CARAVAN_NATS_URL": ",".join(nats_url(accounts.OURS, nats.ours, f"{host}:4222") for host in _hosts(servers)),
        "CARAVAN_NATS_REPLICAS": str(servers),
        "CARAVAN_API_PUBLISHED_PORT": str(port),
        "COMPOSE_PROFILES": ",".join(_profiles(sandbox, observability, servers)),
    }
    write_private(checkout / ".env", _HEAD + "".join(f"{name}={value}\n" for name, value in values.items()))
    write_private(folder / "nats" / "cluster.conf", _routes(servers, values["CARAVAN_NATS_ROUTES_PASSWORD"]))
    _zone_key(folder)
    write_credentials(
        folder / CREDENTIALS,
        url=f"http://127.0.0.1:{port}",
        token=values["CARAVAN_API_BOOTSTRAP_TOKEN"],
        nats_url=nats_url(TEAM, nats.teams[TEAM], "127.0.0.1:4222") if TEAM in nats.teams else "",
    )
    tell(f"Secrets are in {checkout / '.env'} and {folder}: keep a copy, they are made once.")
    tell(f"Next: docker compose up --detach --wait; then CARAVAN_STATE_DIR={folder} caravan cluster list")


def _passwords() -> Iterable[str]:
    yield "CARAVAN_API_BOOTSTRAP_TOKEN"
    yield "CARAVAN_SANDBOX_TOKEN"
    yield "CARAVAN_NATS_ROUTES_PASSWORD"
    yield "POSTGRES_PASSWORD"
    yield "GRAFANA_PASSWORD"
    for service in SERVICES:
        yield f"POSTGRES_PASSWORD_{service.upper()}"


def _profiles(sandbox: bool, observability: bool, servers: int) -> Iterable[str]:
    if sandbox:
        yield "sandbox"
    if observability:
        yield "observability"
    if servers > 1:
        yield "nats-cluster"


def _hosts(servers: int) -> list[str]:
    return ["nats", "nats-2", "nats-3"][:servers]


def _routes(servers: int, password: str) -> str:
    """The part of nats-server's configuration that makes servers one cluster; nothing for a single one."""
    if servers == 1:
        return "# One server: no routes.\n"
    routes = ", ".join(f'"nats://routes:{password}@{host}:6222"' for host in _hosts(servers))
    return f"""\
cluster {{
  name: caravan
  listen: "0.0.0.0:6222"
  authorization {{ user: routes, password: "{password}" }}
  routes: [{routes}]
}}
"""


def _zone_key(folder: Path) -> None:
    key = folder / "zone.key"
    if key.exists():
        return
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    for path, text in ((folder / "zone.conf", _ZONE_KEY.format(secret)), (key, secret)):
        write_private(path, text)
        path.chmod(0o644)  # see above
