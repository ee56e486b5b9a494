"""A simulated machine: what it is, which states it goes through, which types there are. No clock, no network."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import UUID

OS_IMAGE = "Caravan sandbox (simulated)"


class MachineState(StrEnum):
    """The cloud's word for how far a machine is."""

    BUILDING = "building"
    """Accepted, not booted yet; it has no address."""
    ACTIVE = "active"
    """Booted; it may still be switched off."""
    ERROR = "error"
    """It could not be made; `fault` says why. Only deleting it helps."""


@dataclass(frozen=True)
class MachineType:
    """A size that can be asked for."""

    name: str
    cpus: int
    memory_mib: int
    disk_gib: int


MACHINE_TYPES = {
    machine_type.name: machine_type
    for machine_type in (
        MachineType("small", 2, 4096, 40),
        MachineType("medium", 4, 8192, 80),
        MachineType("large", 8, 32768, 160),
    )
}


@dataclass
class Machine:
    """One machine and what has been made of it. Times are epoch seconds; every field is plain JSON."""

    id: str
    name: str
    machine_type: str
    created_at: float
    boots_at: float
    tags: dict[str, str]
    user_data: str | None = None
    state: MachineState = MachineState.BUILDING
    boot_fault: str | None = None
    """Decided at create: the machine will end in error, for this reason."""
    fault: str | None = None
    address: str | None = None
    powered_on: bool = True
    rebooting: bool = False
    """Switched on again; it runs from `boots_at` on."""
    gone_at: float | None = None
    """Deletion was asked for; the cloud lists the machine until then."""
    kubelet_version: str | None = None
    cluster: str | None = None
    """CA hash of the cluster it is a member of."""
    node: str | None = None
    control_plane: bool = False
    etcd_peers: list[str] = field(default_factory=list)
    """Addresses of the etcd it is a member of, where etcd has nodes of its own."""

    @property
    def running(self) -> bool:
        """Booted, switched on and not being deleted."""
        return self.state is MachineState.ACTIVE and self.powered_on and not self.rebooting and self.gone_at is None

    def leave_cluster(self) -> None:
        """Forget what kubeadm made of it; the installed kubelet stays."""
        self.cluster = self.node = None
        self.control_plane = False
        self.etcd_peers = []

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Machine":
        """Rebuild a stored machine."""
        return cls(**{**row, "state": MachineState(row["state"])})


def machine_id(now: float) -> str:
    """A UUID version 7 (RFC 9562): sorts by time of creation, so that pages stay stable while machines are added."""
    value = (int(now * 1000) << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))


class AddressPool:
    """Addresses of one network, each in use once, handed out round robin so that a freed one rests for long.

    It begins at `start`: a random place lets two sandboxes on one host share the network and hardly ever meet.
    """

    def __init__(self, network: IPv4Network, start: int) -> None:
        self._network = network
        self._size = network.num_addresses - 2
        self._next = start % self._size
        self._used: set[str] = set()

    def hold(self, address: str) -> None:
        """Mark an address of an earlier run as in use."""
        self._used.add(address)
        self._next = (int(IPv4Address(address)) - int(self._network.network_address)) % self._size

    def take(self) -> str:
        """The next free address. Raises LookupError when the network is full."""
        for _ in range(self._size):
            address = str(self._network.network_address + 1 + self._next)
            self._next = (self._next + 1) % self._size
            if address not in self._used:
                self._used.add(address)
                return address
        raise LookupError(f"no free address in {self._network}")

    def free(self, address: str) -> None:
        """Give an address back."""
        self._used.discard(address)
