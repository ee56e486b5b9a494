"""The base of all that services say to each other, and the small values that several events share."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from caravan_shared.contracts.spec import Role, TeamName
from caravan_shared.contracts.states import Verdict

PROGRESS = "progress"
"""What teams are told has subjects that begin with it."""


class WhoCanFix(StrEnum):
    """Whose hands a failure is in."""

    USER = "user"
    """Whoever asked: another spec, another name, less of something."""
    OPERATOR = "operator"
    """Whoever runs Caravan or the cloud: quota, credentials, an outage."""


class Message(BaseModel):
    """Frozen on our side, and tolerant of fields that a newer sender adds. Built when it is first used.

    The command line reads few of them, and building all would be most of its start.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    @classmethod
    def read(cls, body: bytes | str) -> Self:
        """A message as it came from a sender of any release; raises `ValidationError`.

        Parts such as a spec refuse unknown fields where people write them. In a message they only say that the sender
        is newer, at whatever depth they are.
        """
        return cls.model_validate_json(body, extra="ignore")


class Event(Message):
    """A fact, in the past tense, with its subject and an example beside it; `events.py` has them all."""

    subject: ClassVar[str]
    schema_version: ClassVar[int] = 1
    example: ClassVar[dict[str, Any]]

    def published_on(self) -> str:
        """The NATS subject that it is published on."""
        return self.subject


class ClusterEvent(Event):
    """A fact about one cluster; handlers wake the reconciler under this id."""

    cluster_id: UUID


class ProgressEvent(Event):
    """What a team is told of its own: published on `progress.<team>.<subject>`, which that team alone can hear.

    So nothing in it may be a secret, another team's, or an internal of ours that the REST API would not show the team.
    """

    team: TeamName

    def published_on(self) -> str:
        """Its subject below its team's own part of the bus."""
        return f"{PROGRESS}.{self.team}.{self.subject}"


def kind_of(address: str) -> str:
    """The subject that an event's class names, whichever team's it was published below."""
    return address.split(".", 2)[2] if address.startswith(f"{PROGRESS}.") else address


class Connection(StrEnum):
    """How Ansible reaches a machine."""

    SSH = "ssh"
    SANDBOX = "sandbox"
    """The simulated machine's own console."""


class ReadyNode(Message):
    """A node whose machine runs."""

    name: str = Field(description="Host name and Kubernetes node name; never used again after removal.")
    node_set: str
    role: Role
    machine_id: str = Field(description="The cloud's own id.")
    address: str = Field(description="Where the node is reached: an IP address.")
    connection: Connection
    joins_by_itself: bool = Field(description="True where its user-data joins it (pull); else Ansible pushes.")
    ssh_user: str = Field("root", description="Who Ansible logs in as, where it connects by SSH.")
    ssh_port: int = Field(22, description="Where the machine's SSH server listens.")
    host_keys: tuple[str, ...] = Field(
        (), description="The machine's public SSH host keys, `<type> <base64>`, as the cloud tells them."
    )
    virtual_ip: str | None = Field(
        None, description="Of a control plane: where a load balancer of the cloud's stands for its whole cluster."
    )


class FailedNode(Message):
    """A node whose machine could not be made or is lost."""

    name: str
    node_set: str
    reason: str
    who_can_fix: WhoCanFix
    will_be_replaced: bool


class NodeRef(Message):
    """A node, by name and set."""

    name: str
    node_set: str


class HeldNode(NodeRef):
    """A node that ought to be replaced or removed and is not yet."""

    reason: str = Field(description="What holds it, as a sentence; empty: nothing any more.")


class NodeVerdict(Message):
    """What health believes of one node."""

    name: str
    verdict: Verdict
    reason: str
    since: datetime


class FieldProblem(Message):
    """One thing wrong with a request: where, what, and what would be right."""

    field: str = Field(description="Path into the request, e.g. `spec.workers.0.count`.")
    problem: str
    remedy: str


class FindingLevel(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """It works, with less than one might expect."""
    FATAL = "fatal"
    """No cluster can be made before it is mended."""


class Finding(Message):
    """One thing that a check looked at: what was found, and what to do about it."""

    about: str = Field(description="What was looked at, in a word or two.")
    level: FindingLevel
    says: str
    mend: str = Field("", description="What to do, as a sentence; empty where nothing is to be done.")


class OfferedMachineType(Message):
    """A machine type of a cloud."""

    name: str
    cpus: int
    memory_mib: int
    disk_gib: int


class CloudQuota(Message):
    """What a cloud still grants us; None where the cloud sets no limit."""

    machines_limit: int | None = None
    machines_used: int = 0
