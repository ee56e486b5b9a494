"""What the provisioner needs of a cloud, and the words it uses for it.

A cloud is anything that makes machines on request and lists them by tag. Every adapter passes the same suite
(`tests/contracts/cloud_suite.py`). Two rules hold for all of them:

* an adapter never repeats a create by itself: names are not unique on most clouds, so a repeated call may make a second
  machine. It raises `CloudUnavailable` whenever it cannot tell, and the caller looks before it asks again;
* what we own is found by tag, in pages, never by asking for one machine after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from caravan_shared.contracts.addresses import IPAddress, IPNetwork
from caravan_shared.contracts.facts import CloudQuota, Connection, Finding, OfferedMachineType, WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.errors import GiveUp, Retry

INSTALLATION, CLUSTER, NODE_SET, ROLE, BATCH = (
    f"caravan-{key}" for key in ("installation", "cluster", "node-set", "role", "batch")
)


class CloudMachineState(StrEnum):
    """How far the cloud says a machine is."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    """It is there, switched off. `Machine.fault` says why where that was not meant as far as the cloud can tell."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose machine it is: written to the cloud as tags, so that the cloud alone can tell what is ours."""

    installation: str
    cluster_id: UUID
    node_set: str
    role: Role
    batch: str

    def tags(self) -> dict[str, str]:
        """The tags that say so."""
        return {
            INSTALLATION: self.installation,
            CLUSTER: str(self.cluster_id),
            NODE_SET: self.node_set,
            ROLE: self.role.value,
            BATCH: self.batch,
        }

    @classmethod
    def of(cls, tags: dict[str, str]) -> "Owner | None":
        """The owner that `tags` name, or None where they are not a complete set of ours."""
        try:
            return cls(tags[INSTALLATION], UUID(tags[CLUSTER]), tags[NODE_SET], Role(tags[ROLE]), tags[BATCH])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class MachineBatch:
    """Equal machines to be made by one call, named `<prefix>-<number>`."""

    prefix: str
    numbers: tuple[int, ...]
    machine_type: str
    owner: Owner
    user_data: str | None = None
    virtual_ip: IPAddress | None = None
    """Of the cluster: machines are made where it belongs, and none of them gets it."""

    def names(self) -> list[str]:
        """The machines' names, in the order of their numbers."""
        return [f"{self.prefix}-{number}" for number in self.numbers]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as the cloud lists it. `owner` is None where the tags are not a complete set of ours."""

    id: str
    name: str
    state: CloudMachineState
    address: str | None
    machine_type: str
    owner: Owner | None
    created_at: datetime
    fault: str | None = None
    """What is wrong with it, or still keeps it from being of use."""
    virtual_ip: str | None = None
    """Of a control plane: where a load balancer of the cloud's stands for its whole cluster."""
    host_keys: tuple[str, ...] = ()
    """Its public SSH host keys, `<type> <base64>`, told by the cloud and not by whoever answers at its address."""
    ssh_port: int = 22
    touched_at: datetime | None = None
    """When it last began to boot, or the cloud changed anything else of it; None where the cloud does not tell."""
    power_problem: str | None = None
    """Why its cloud, which can reboot others, cannot reboot this one."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What a cloud offers and still grants. `seconds_to_boot`: usual time from the call to running."""

    machine_types: tuple[OfferedMachineType, ...]
    quota: CloudQuota
    seconds_to_boot: float
    virtual_ips: tuple[IPNetwork, ...] = ()
    """Where virtual IPs may be taken from; none where a machine cannot have a second address that others reach."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do, whatever the moment."""

    user_data: bool
    """Machines run the cloud-init user-data they are given."""
    pull: bool
    """Workers shall join by themselves, through their user-data."""
    max_batch: int
    """Most machines in one create call."""
    simulated: bool
    """Nothing real is behind it: every person who sees its machines is told."""
    connection: Connection
    """How Ansible reaches its machines."""
    zones: int = 1
    """Over how many zones machines are spread, where one create call makes all of its in one."""


class Cloud(Protocol):
    """A source of machines."""

    name: str
    """What specs and events call it."""
    kind: str
    """Which adapter it is."""
    capabilities: Capabilities

    async def offers(self) -> Offers:
        """What can be had now. Raises `CloudUnavailable` or `CloudRefused`."""

    async def create(self, batch: MachineBatch) -> Sequence[Machine]:
        """Ask once for the machines of `batch`; return those whose ids the cloud told, which may be fewer.

        Raises `QuotaExceeded`, `UnknownMachineType` or `CloudRefused` where surely none was made, and
        `CloudUnavailable` where it may or may not have been.
        """

    async def machines(self, installation: str) -> Sequence[Machine]:
        """Every machine that carries this installation's tag. Raises `CloudUnavailable` or `CloudRefused`."""

    async def delete(self, ids: Sequence[str]) -> None:
        """Ask for the deletion of these machines; unknown ids are fine. Raises `CloudUnavailable` or `CloudRefused`."""

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class Checkable(Protocol):
    """A cloud that can tell more about its own usability than its offers do."""

    async def check(self) -> Sequence[Finding]:
        """Look from every side; what cannot be looked at is a finding too, so nothing is raised on purpose."""


@runtime_checkable
class Inquirer(Protocol):
    """A cloud whose listings lack something that takes a question a machine, once in its life."""

    async def complete(self, machines: Sequence[Machine]) -> Sequence[Machine]:
        """The machines as listed, with what was asked about each. Who cannot be asked now is asked later."""


@runtime_checkable
class Stoppable(Protocol):
    """A cloud whose machines can be stopped and started again, their disks, ids, names and addresses kept.

    Both calls ask and do not wait: a listing tells what came of it. Unknown ids are fine, and so are machines that are
    as they shall be already, or on their way there. Both raise `CloudUnavailable` or `CloudRefused`.
    """

    async def stop(self, ids: Sequence[str]) -> None:
        """Have these machines shut down."""

    async def start(self, ids: Sequence[str]) -> None:
        """Have these machines boot from their disks."""


@runtime_checkable
class Rebootable(Protocol):
    """A cloud that can cut a machine's power and switch it on again, its disks, id, name and address kept."""

    async def reboot(self, machine_id: str) -> None:
        """Ask once for a hard reboot, whatever the machine itself is at.

        Raises `CloudRefused` where surely nothing was done, as for a machine that is gone or has a `power_problem`, and
        `CloudUnavailable` where it may or may not have been: then `Machine.touched_at` tells, where the cloud has it.
        """


class CloudUnavailable(Retry):
    """The cloud did not answer, or asked to be left alone for `after` seconds. A create may have been carried out."""


class CloudRefused(GiveUp):
    """The cloud said no, for good: bad credentials, a request it does not understand."""

    def __init__(self, cloud: str, reason: str) -> None:
        super().__init__(f"cloud {cloud!r} refused: {reason}", who_can_fix=WhoCanFix.OPERATOR)


class UnknownMachineType(GiveUp):
    """The cloud has no machine type of that name."""

    def __init__(self, cloud: str, machine_type: str) -> None:
        super().__init__(f"cloud {cloud!r} has no machine type {machine_type!r}", who_can_fix=WhoCanFix.USER)
        self.cloud, self.machine_type = cloud, machine_type


class UnusableVirtualIp(GiveUp):
    """Machines cannot be made where the cluster's virtual IP belongs. It is fixed: another cluster has to be made."""

    def __init__(self, address: IPAddress, problem: str, remedy: str) -> None:
        super().__init__(
            f"the virtual IP {address} cannot be had: {problem}; delete the cluster and make it again with {remedy}",
            who_can_fix=WhoCanFix.USER,
        )


class QuotaExceeded(GiveUp):
    """The cloud grants less than was asked for. `resource` is the cloud's own word, such as `machines` or `cores`."""

    def __init__(self, *, project: str, resource: str, need: int, free: int) -> None:
        super().__init__(
            f"quota of {project!r} is exceeded: {need} {resource} needed, {free} free", who_can_fix=WhoCanFix.OPERATOR
        )
        self.project, self.resource, self.need, self.free = project, resource, need, free
