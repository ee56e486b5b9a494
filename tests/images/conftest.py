"""An installation by compose.yaml, beside whatever else runs: a project, ports and a network of its own."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

CHECKOUT = Path(__file__).parents[2]
IMAGES = "stand-in"
STARTS_WITHIN_S = 300.0


@dataclass(frozen=True)
class Installation:
    """What runs, and how to talk to it."""

    folder: Path
    env: dict[str, str]

    def compose(self, *words: str, check: bool = True) -> str:
        """What `docker compose` says; the test fails with its own words where it fails and `check` is set."""
        return self.run("docker", "compose", *words, check=check)

    def caravan(self, *words: str) -> str:
        """What the command line says as the first admin."""
        return self.run(sys.executable, "-m", "caravan_cli", *words)

    def run(self, *words: str, check: bool = True) -> str:
        """Both streams of a command in the installation's folder."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}"
        return done.stdout


def installed(folder: Path, *choices: str) -> Iterator[Installation]:
    """One that starts with these choices of `caravan compose secrets`, and is gone afterwards with all it kept."""
    port = free_port()
    env = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"caravan-test-{secrets.token_hex(3)}",
        "CARAVAN_VERSION": IMAGES,
        "NATS_IMAGE": "caravan-stand-in:nats",
        "POSTGRES_IMAGE": "caravan-stand-in:postgres",
        "BIND_IMAGE": "caravan-stand-in:bind",
        "PROMETHEUS_IMAGE": "caravan-stand-in:prometheus",
        "CARAVAN_NETWORK": f"10.{200 + secrets.randbelow(50)}",
        "CARAVAN_NATS_PUBLISHED_PORT": str(free_port()),
        "CARAVAN_ZONE_PUBLISHED_PORT": str(free_port()),
        "CARAVAN_PROMETHEUS_PUBLISHED_PORT": str(free_port()),
        "CARAVAN_STATE_DIR": str(folder / ".caravan" / "compose"),
    }
    shutil.copy(CHECKOUT / "compose.yaml", folder)
    for part in ("compose", "observability"):
        shutil.copytree(CHECKOUT / "deploy" / part, folder / "deploy" / part)
    one = Installation(folder, env)
    one.caravan("compose", "secrets", "--port", str(port), *choices)
    try:
        started = one.compose("up", "--detach", "--wait", "--wait-timeout", f"{STARTS_WITHIN_S:.0f}", check=False)
        unwell = [
            line
            for line in one.compose("ps", "--all", "--format", "{{.Name}} {{.Status}}").splitlines()
            if not _well(line)
        ]
        assert not unwell, "\n".join([started, *unwell, one.compose("logs", "--tail", "20")])
        yield one
    finally:
        one.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


def _well(status: str) -> bool:
    return " Up " in status and "(unhealthy)" not in status and "(health: starting)" not in status


@pytest.fixture(scope="session")
def needs() -> None:
    """Skip where there is no engine, no Compose, or no images."""
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True)
    if asked.returncode != 0:
        pytest.skip("NO IMAGE IS TESTED HERE: there is no `docker compose` (Debian 13: apt-get install docker-compose)")
    if subprocess.run(["docker", "image", "inspect", f"caravan-api:{IMAGES}"], capture_output=True).returncode != 0:
        pytest.skip("NO IMAGE IS TESTED HERE: there is none yet; `make test-images` builds them")
