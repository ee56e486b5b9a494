"""Which programs make a stack, and what each is told by its environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from caravan_cli.up.docker import Docker
from caravan_cli.up.layout import Layout
from caravan_cli.up.nats import binary
from caravan_cli.up.parts import API, NATS, SANDBOX, SERVICES, module
from caravan_cli.up.processes import Module, Program

NATS_CONFIG = "nats.conf"
NATS_STORE = "nats"

_CLIENTS_OWN = ("CARAVAN_URL", "CARAVAN_TOKEN", "CARAVAN_TEAM")


def program(part: str, layout: Layout, state_dir: Path) -> Program:
    """How a part is started. StackError without a nats-server."""
    port: int = getattr(layout.ports, part)
    if part == NATS:
        return Program(part, [str(binary()), "--config", str(state_dir / NATS_CONFIG)], port, None)
    return Program(part, Module(module(part)), port, "/readyz")


def common_env(
    layout: Layout, state_dir: Path, nats_url: str, extra: Mapping[str, str], docker: Docker | None = None
) -> dict[str, str]:
    """What every process of the stack is told: our environment, `extra`, and how the parts find each other."""
    inherited = {name: value for name, value in os.environ.items() if name not in _CLIENTS_OWN}
    ports = {f"CARAVAN_{part.upper()}_HTTP_PORT": str(getattr(layout.ports, part)) for part in (SANDBOX, *SERVICES)}
    wiring = {
        "CARAVAN_STATE_DIR": str(state_dir),
        "CARAVAN_NATS_URL": nats_url,
        "CARAVAN_SANDBOX_URL": layout.sandbox_url,
        "CARAVAN_SANDBOX_TOKEN": layout.sandbox_token,
        "CARAVAN_SANDBOX_NETWORK": layout.network,
        "CARAVAN_DNS_EMBEDDED_PORT": str(layout.ports.zone),
        "NO_COLOR": "1",
    }
    return {**inherited, **(docker.env(layout) if docker else {}), **extra, **ports, **wiring}


def own_env(part: str, layout: Layout, docker: Docker | None = None) -> dict[str, str]:
    """What only this part is told. Where nothing is real, whoever sits at this machine may see and do all in the UI."""
    if part != API:
        return {}
    return {
        "CARAVAN_API_BOOTSTRAP_TOKEN": layout.api_token,
        "CARAVAN_API_WEB_OPENS_ON_LOOPBACK": str(docker is None).lower(),
    }
