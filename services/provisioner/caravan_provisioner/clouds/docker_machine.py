"""A machine as a container, and a container as a machine. Pure: no network, no clock.

The container boots systemd from the node image (see deploy/node-image). Its name is the machine's with a random end,
because an engine's names are unique and a cloud's are not; the machine's own name is a label and the host name.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from caravan_provisioner.clouds.base import CloudMachineState, Machine, MachineBatch, Owner
from caravan_provisioner.clouds.docker_config import Size

NAME, MACHINE_TYPE = "caravan-name", "caravan-machine-type"
SEED_FOLDER = "/var/lib/cloud/seed/nocloud"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
STARTED_WITHIN = timedelta(minutes=2)  # from its making; then whoever made the container died before starting it
_KILLED = 137  # exit code of a process that SIGKILL ended: 128 + 9
_EXITED = "exited"
_DEAD = frozenset({_EXITED, "dead"})
_RUNNING = frozenset({"running", "paused"})


@dataclass(frozen=True, slots=True)
class Host:
    """What the engine's host has and can limit."""

    cpus: int
    limits_cpus: bool
    limits_memory: bool

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Host":
        """From the engine's own description."""
        return cls(info["NCPU"], bool(info.get("CpuCfsQuota")), bool(info.get("MemoryLimit")))


def container(
    batch: MachineBatch,
    name: str,
    *,
    image: str,
    size: Size,
    host: Host,
    mounts: Sequence[str],
    network: str,
    privileged: bool,
) -> dict[str, Any]:
    """What the engine is asked for to make the machine `name` of a batch."""
    return {
        "Image": image,
        "Hostname": name,
        "Labels": {**batch.owner.tags(), NAME: name, MACHINE_TYPE: batch.machine_type},
        # kubelet's and containerd's own mounts can't lie on the container's overlay.
        "Volumes": {"/var/lib/containerd": {}, "/var/lib/kubelet": {}},
        "HostConfig": {
            "NetworkMode": network,
            "CgroupnsMode": "private",
            "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec,mode=1777"},  # noqa: S108  the machine's own
            "Binds": ["/lib/modules:/lib/modules:ro", *mounts],
            **_limits(size, host),
            **(_PRIVILEGED if privileged else _NEARLY_PRIVILEGED),
        },
    }


_PRIVILEGED: dict[str, Any] = {"Privileged": True}

# Where the engine lacks a capability itself (it runs in a container or a small VM) it can't grant all of them.
_NEARLY_PRIVILEGED: dict[str, Any] = {
    "CapAdd": ["ALL"],
    "CapDrop": ["SYS_RESOURCE"],
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "DeviceCgroupRules": ["a *:* rwm"],
    "Devices": [{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg", "CgroupPermissions": "rwm"}],
}


def _limits(size: Size, host: Host) -> dict[str, int]:
    limits: dict[str, int] = {}
    if host.limits_cpus:
        limits["NanoCpus"] = min(size.cpus, host.cpus) * 10**9
    if host.limits_memory:
        limits["Memory"] = limits["MemorySwap"] = size.memory_mib * 2**20  # as much of both: no swap, as kubelet wants
    return limits


def seed(instance_id: str, host_name: str, user_data: str | None) -> bytes:
    """A tar archive of the files that cloud-init's NoCloud looks for in `SEED_FOLDER`."""
    files = {
        "meta-data": json.dumps({"instance-id": instance_id, "local-hostname": host_name}),
        "user-data": user_data or "#cloud-config\n{}\n",
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600  # it may hold what lets a machine join
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def is_running(listed: Mapping[str, Any]) -> bool:
    """The container runs; a paused one does not know that it is not."""
    return listed["State"] in _RUNNING


def is_dead(listed: Mapping[str, Any]) -> bool:
    """The container ran and will not by itself again."""
    return listed["State"] in _DEAD


def host_keys(content: bytes | None) -> tuple[str, ...]:
    """`<type> <base64>` of a public key file; none while it is not written to its end."""
    words = (content or b"").decode("ascii", "replace").split()
    return (" ".join(words[:2]),) if content and content.endswith(b"\n") and len(words) >= 2 else ()


def fault(state: Mapping[str, Any] | None) -> str:
    """Why a dead container is dead, as a sentence; `state` is None where the engine does not have it any more."""
    if state is None:
        return "its container is being removed"
    said = f"its container stopped with exit code {state['ExitCode']}"
    if state.get("OOMKilled"):
        return f"{said}: it ran out of memory"
    if state.get("Error"):
        return f"{said}: {state['Error']}"
    return f"{said}: it was killed" if state["ExitCode"] == _KILLED else said


def machine(listed: Mapping[str, Any], keys: tuple[str, ...], why_dead: str | None, now: datetime) -> Machine:
    """The machine of a listed container, whose host keys or cause of death are known by now or not."""
    labels: dict[str, str] = listed["Labels"]
    created_at = datetime.fromtimestamp(listed["Created"], UTC)
    address = _address(listed)
    if listed["State"] == "created" and now > created_at + STARTED_WITHIN:
        why_dead = "its container was made, but never started"
    if listed["State"] == _EXITED:
        state = CloudMachineState.STOPPED
    elif why_dead:
        state = CloudMachineState.ERROR
    elif is_running(listed) and address and keys:
        state = CloudMachineState.ACTIVE
    else:
        state = CloudMachineState.BUILDING
    return Machine(
        id=listed["Id"],
        name=labels.get(NAME, ""),
        state=state,
        address=address,
        machine_type=labels.get(MACHINE_TYPE, ""),
        owner=Owner.of(labels),
        created_at=created_at,
        fault=why_dead,
        host_keys=keys,
    )


def unkept_address(listed: Mapping[str, Any]) -> tuple[str, str] | None:
    """The network and the address that a running container would lose by stopping; None where it would not."""
    networks: Iterable[Mapping[str, Any]] = listed["NetworkSettings"]["Networks"].values()
    found = ((each["NetworkID"], each["IPAddress"]) for each in networks if each["IPAddress"] and not _kept(each))
    return next(found, None)


def _address(listed: Mapping[str, Any]) -> str | None:
    networks: Iterable[Mapping[str, Any]] = listed["NetworkSettings"]["Networks"].values()
    return next((address for each in networks if (address := each["IPAddress"] or _kept(each))), None)


def _kept(network: Mapping[str, Any]) -> str | None:
    """The address that a container has in a network for good, running or not."""
    return (network.get("IPAMConfig") or {}).get("IPv4Address")
