"""Hosts that stand there already, for inventories: containers of the node image that no cloud of ours has made.

Each boots systemd and an SSH server, and knows nothing of Caravan until somebody puts a key on it.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.eventually import eventually

IMAGE = "caravan-node:latest"
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
_AS_A_MACHINE = (
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--cgroupns=private"),
    *(
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
    ),
    *("--device-cgroup-rule=a *:* rwm", "--device=/dev/kmsg", "--device=/dev/fuse"),
    *("--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec,mode=1777"),
    *("--volume=/var/lib/kubelet", "--volume=/var/lib/containerd", "--volume=/lib/modules:/lib/modules:ro"),
)
"""What deploy/node-image/README.md says that a container needs where an engine may not grant --privileged."""


def missing() -> str | None:
    """What keeps hosts from being started here; None: nothing."""
    docker = shutil.which("docker")
    if docker is None:
        return "there is no `docker` command"
    asked = subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, timeout=60)
    return None if asked.returncode == 0 else f"the Docker engine does not answer or has no image {IMAGE}"


@dataclass(frozen=True)
class SshHost:
    """One host."""

    name: str
    container: str
    address: str
    host_key: str

    def entry(self, cloud: str, machine_type: str = "medium", **changes: Any) -> dict[str, Any]:
        """What its operator tells of it."""
        return {
            "name": self.name,
            "cloud": cloud,
            "address": self.address,
            "host_keys": [self.host_key],
            "machine_type": machine_type,
            "cpus": 2,
            "memory_mib": 4096,
            **changes,
        }

    async def run(self, command: str) -> str:
        """What a shell command prints there."""
        return await engine("exec", self.container, "sh", "-c", command)

    async def let_in(self, public: str) -> None:
        """Put a key where root's are, as the host's operator would."""
        await self.run(f"mkdir -p -m 700 /root/.ssh && echo '{public}' >> /root/.ssh/authorized_keys")


@asynccontextmanager
async def ssh_hosts(
    count: int, *, network: str = "bridge", mounts: tuple[Path, ...] = ()
) -> AsyncIterator[list[SshHost]]:
    """Hosts for as long as the block runs; `mounts` are directories that they have at the same path."""
    label = f"caravan-test-hosts={uuid4()}"
    volumes = [f"--volume={mount}:{mount}:ro" for mount in mounts]
    try:
        yield await asyncio.gather(*(_start(number, label, network, volumes) for number in range(1, count + 1)))
    finally:
        if left := (await engine("ps", "--all", "--quiet", "--filter", f"label={label}")).split():
            await engine("rm", "--force", "--volumes", *left)


async def _start(number: int, label: str, network: str, volumes: list[str]) -> SshHost:
    name = f"host-{uuid4().hex[:6]}-{number}"
    command = ("run", "--detach", f"--name=caravan-{name}", f"--hostname=old-{number}", f"--label={label}")
    container = (await engine(*command, f"--network={network}", *_AS_A_MACHINE, *volumes, IMAGE)).strip()
    key = await eventually(lambda: _key_of(container), within=90, every=0.5, saying=f"{name} has a host key")
    where = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    address = (await engine("inspect", "--format", where, container)).split()[0]
    return SshHost(name, container, address, key)


async def _key_of(container: str) -> str:
    told = await engine("exec", container, "sh", "-c", f"systemctl is-active --quiet ssh && cat {_HOST_KEY} || true")
    return " ".join(told.split()[:2])


async def engine(*arguments: str) -> str:
    """One `docker` command; what it prints."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"docker {' '.join(arguments)}: {err.decode()}"
    return out.decode()
