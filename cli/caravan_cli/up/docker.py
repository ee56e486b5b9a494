"""What a local stack needs for clusters on this machine's Docker engine: looked for before anything is started.

Machines cannot reach 127.0.0.1 of the host, where the stack's name server usually listens; they all reach the gateway
of Docker's own bridge, so it listens there instead. The mirror is a directory that every machine has mounted.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from caravan_cli.artifacts import sums
from caravan_cli.up.errors import StackError
from caravan_cli.up.layout import Layout

CLOUD = "docker"
NODE_IMAGE = "caravan-node:latest"
_BRIDGE = "bridge"
_ANSWER_WITHIN_S = 20.0


@dataclass(frozen=True)
class Docker:
    """A Docker engine that can carry clusters, and the mirror that its machines install from."""

    gateway: str
    """The host's address on Docker's own bridge."""
    mirror: Path

    def env(self, layout: Layout) -> dict[str, str]:
        """What the services are told."""
        clouds = {
            CLOUD: {"kind": "docker", "image": NODE_IMAGE, "mounts": [f"{self.mirror}:{self.mirror}:ro"]},
            "sandbox": {"kind": "sandbox", "url": layout.sandbox_url, "token": layout.sandbox_token},
        }
        return {
            "CARAVAN_PROVISIONER_CLOUDS": json.dumps(clouds),
            "CARAVAN_BOOTSTRAPPER_ARTIFACTS": str(self.mirror),
            "CARAVAN_BOOTSTRAPPER_RESOLVERS": json.dumps([f"{self.gateway}:{layout.ports.zone}"]),
            "CARAVAN_DNS_EMBEDDED_HOST": self.gateway,
        }


def find(mirror: Path) -> Docker:
    """The machine's engine, ready for clusters. StackError says what is missing and how to get it."""
    if not _inspect("image", NODE_IMAGE):
        raise StackError(f"The engine has no image {NODE_IMAGE} for the machines. Build it with `make node-image`.")
    if not (mirror / sums.NAME).is_file():
        raise StackError(f"{mirror} is no mirror of Kubernetes' artifacts. Fill it with `make artifacts`.")
    return Docker(_gateway(), mirror.resolve())


def _gateway() -> str:
    networks = _inspect("network", _BRIDGE)
    if not networks or not networks[0]["IPAM"]["Config"]:
        raise StackError("Docker has no network `bridge` of its own, so machines could not reach the name server.")
    config = networks[0]["IPAM"]["Config"][0]
    # Old engines do not tell it; it is the first address then.
    return str(config.get("Gateway") or ip_network(config["Subnet"])[1])


def _inspect(kind: str, name: str) -> list[Any]:
    """What the engine says of it; empty where it has none. StackError where it does not answer."""
    command = shutil.which("docker")
    if command is None:
        raise StackError("Clusters on Docker need a Docker engine and its `docker` command; see docs.docker.com.")
    try:
        asked = subprocess.run(  # noqa: S603  # our own words only
            [command, kind, "inspect", name], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StackError("The Docker engine does not answer.") from error
    if asked.returncode == 0:
        found: list[Any] = json.loads(asked.stdout)
        return found
    if "no such" in asked.stderr.lower() or "not found" in asked.stderr.lower():
        return []
    raise StackError(f"The Docker engine cannot be asked: {asked.stderr.strip()}")
