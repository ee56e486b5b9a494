"""What an inventory says of a machine that stands there already: physical ones and other SSH hosts.

An operator gives the entry; all else about a machine is the provisioner's. Field names are those of `ReadyNode` where
both have one. Shape only: whether a name or an address is taken is for the inventory to say.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from caravan_shared.contracts.addresses import IPAddress
from caravan_shared.contracts.bmc import Bmc
from caravan_shared.contracts.facts import Message
from caravan_shared.contracts.spec import DNS_LABEL, LabelKey, LabelValue, MachineType, SpecModel
from caravan_shared.contracts.states import InventoryState

MachineName = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=63)]
CloudName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
HostKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,2000}={0,2}$", max_length=2100
    ),
]
Login = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]

IMPORTED_AT_ONCE = 500
"""Machines in one import: with keys and labels well below what one message on the bus may have."""


class MachineEntry(SpecModel):
    """A machine as its operator describes it."""

    example: ClassVar[dict[str, Any]] = {
        "name": "rack1-07",
        "cloud": "metal",
        "address": "10.0.0.7",
        "machine_type": "large",
        "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"],
        "cpus": 16,
        "memory_mib": 65536,
        "labels": {"rack": "1"},
    }
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [example]})

    name: MachineName = Field(description="Unique in the installation; the machine's host name while it is idle.")
    cloud: CloudName = Field(description="The cloud of kind `static` that it belongs to.")
    address: IPAddress = Field(description="Where it is reached, by Caravan and by its cluster's nodes.")
    ssh_port: int = Field(22, ge=1, le=65_535)
    ssh_user: Login = Field("root", description="Who Caravan first logs in as; another than root needs sudo for all.")
    host_keys: tuple[HostKey, ...] = Field(
        min_length=1,
        max_length=8,
        description="Its public SSH host keys, `<type> <base64>`: nobody connects to a machine that has none of them.",
    )
    machine_type: MachineType = Field(description="Its class: what node sets call `machine_type`.")
    cpus: int = Field(ge=1, le=4096)
    memory_mib: int = Field(ge=256, le=1 << 26)
    disk_gib: int = Field(0, ge=0, le=1 << 20, description="Told only; 0: not known.")
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=32, description="For its operators.")
    bmc: Bmc | None = None


class MachineView(Message):
    """A machine of an inventory, as it is now. Without secrets."""

    id: UUID
    entry: MachineEntry
    state: InventoryState
    since: datetime
    reason: str | None = Field(None, description="Why it is in quarantine, or what preparing it ran into.")
    checked_at: datetime | None = Field(None, description="When it was last found fit.")
    cluster_id: UUID | None = Field(None, description="Who has claimed it, or had it while it is being wiped.")
    node: str | None = None
    has_bmc_password: bool = False
    has_power: bool = Field(False, description="Caravan can have its power: its BMC is described well enough.")
    power_problem: str | None = Field(None, description="Why not.")
    version: int = Field(description="Rises with every change.")


class MachineWork(StrEnum):
    """What the bootstrapper does on a machine of an inventory."""

    CHECK = "check"
    """Look whether it can become a node. Changes nothing."""
    PREPARE = "prepare"
    """Give it its node's name and let its cluster in."""
    CLEAN = "clean"
    """Wipe all of the cluster, shut the cluster out, give it its own name, and check it."""


class MachineToWork(Message):
    """A machine that is to be worked on. `id` and `ticket` together name this piece of work, for ever."""

    id: UUID
    ticket: int
    name: str
    cloud: str
    address: str
    ssh_port: int
    ssh_user: str
    host_keys: tuple[str, ...]
    cluster_id: UUID | None = None
    node: str | None = Field(None, description="Whose machine it is, or was.")


class WorkedMachine(Message):
    """How that work ended."""

    id: UUID
    ticket: int
    problem: str | None = Field(None, description="What went wrong, as a sentence; None: all is well.")


class MachineNow(Message):
    """How a machine of an inventory is."""

    name: str
    cloud: str
    state: InventoryState
    reason: str | None = Field(None, description="Why it is in quarantine.")
