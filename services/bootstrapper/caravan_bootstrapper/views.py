"""What a decision is made from: a cluster, its nodes and its active runs as plain frozen values. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from caravan_shared.contracts.facts import Connection, WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MembershipState, Verdict


class Play(StrEnum):
    """The playbooks, by their file names."""

    SITE = "site"
    ADD_NODES = "add_nodes"
    REMOVE_NODES = "remove_nodes"
    UPGRADE = "upgrade"
    RESET = "reset"
    BACKUP = "backup"
    RESTORE = "restore"
    RENEW = "renew"
    CHECK_MACHINES = "check_machines"
    PREPARE_MACHINES = "prepare_machines"
    CLEAN_MACHINES = "clean_machines"


class RunState(StrEnum):
    """How far a run is."""

    PENDING = "Pending"
    """Stored; it waits for one of the places of `max_runs`."""
    RUNNING = "Running"
    """Ansible is at work."""
    SUCCEEDED = "Succeeded"
    """Every host did every task."""
    FAILED = "Failed"
    """A host failed or could not be reached, or the time limit was hit."""
    CANCELLED = "Cancelled"
    """It was ended because its cluster is no longer wanted."""
    INTERRUPTED = "Interrupted"
    """The process that drove it ended; the work is done again by another run."""


ACTIVE = frozenset({RunState.PENDING, RunState.RUNNING})


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node whose machine was once ready, or which is to leave."""

    name: str
    node_set: str
    state: MembershipState
    role: Role | None = None
    machine_id: str = ""
    address: str = ""
    connection: Connection = Connection.SANDBOX
    joins_by_itself: bool = False
    ssh_user: str = "root"
    ssh_port: int = 22
    host_keys: tuple[str, ...] = ()
    ready_at: datetime | None = None
    """None while only its leaving was heard of."""
    leaving: bool = False
    gone: bool = False
    """The machine no longer exists, or failed."""
    version: str | None = None
    """The kubelet's, as the kube-apiserver told."""
    upgraded_to: str | None = None
    """The version that the last successful upgrade run brought it to."""
    unfinished: Play | None = None
    """A run of this play began on it, and none has succeeded since: part of the work may be done."""
    verdict: Verdict = Verdict.UNKNOWN
    """What health believes of it."""
    verdict_since: datetime | None = None
    renewed_at: datetime | None = None
    """When its certificates were made last."""
    failures: int = 0
    """Runs in a row that failed on this node without failing the cluster: removal, renewal, backup."""
    failed_at: datetime | None = None
    failure: str | None = None
    told: str | None = None
    """What was said last about that, until it is mended."""
    blamed_at: datetime | None = None
    """When a run that this control plane managed failed last."""

    @property
    def live(self) -> bool:
        """Its machine runs and it is wanted."""
        return self.ready_at is not None and not self.leaving and not self.gone

    @property
    def member(self) -> bool:
        """The cluster counts on it, whether it is to stay or not."""
        return self.state in (MembershipState.JOINED, MembershipState.DRAINING)

    @property
    def dead(self) -> bool:
        """Nothing on it answers: there is nobody to drain it, and nothing to wait for."""
        return self.gone or self.verdict is Verdict.UNREACHABLE


@dataclass(frozen=True, slots=True)
class RunView:
    """A run that has not ended. `alive`: its process still drives it."""

    id: UUID
    play: Play
    alive: bool
    state: RunState = RunState.RUNNING


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong last, as a sentence, and who can mend it."""

    at: datetime
    reason: str
    who_can_fix: WhoCanFix
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster as the bootstrapper knows it."""

    cluster_id: UUID
    name: str
    generation: int
    spec: ClusterSpec
    announcement: int = 1
    said_announcement: int = 1
    complete_generation: int = 0
    done_generation: int = 0
    deletion_asked: bool = False
    asleep: bool = False
    """Its machines are stopped on purpose."""
    first_node: str | None = None
    set_up_at: datetime | None = None
    """When site.yml first succeeded."""
    patience_from: datetime | None = None
    """When a person last retried, or the cluster was woken: deadlines begin anew."""
    failures: int = 0
    """Runs that failed in a row."""
    failure: Failure | None = None
    given_up: bool = False
    endpoint_host: str = ""
    endpoint_port: int = 0
    endpoint_addresses: tuple[str, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    runs: tuple[RunView, ...] = ()
    tokens_to_ensure: int = 0
    """Join tokens that the cluster does not know yet."""
    backed_up_at: datetime | None = None
    told_held: str | None = None
    """What was said last to wait for the maintenance window."""

    def live(self, *roles: Role) -> list[NodeView]:
        """The wanted nodes of these roles whose machines run."""
        return [node for node in self.nodes if node.live and node.role in roles]
