"""What can be decided for a cluster: one step at a time, each a plain value. Pure."""

from dataclasses import dataclass
from uuid import UUID

from caravan_bootstrapper.views import NodeView, Play
from caravan_shared.contracts.facts import WhoCanFix

NINE_MONTHS_S = 270 * 86_400.0  # kubeadm's leaf certificates live a year: a quarter of it is left for trouble


@dataclass(frozen=True)
class Policy:
    """The settings that decisions depend on; seconds."""

    grace_s: float = 3.0
    poll_s: float = 0.5
    join_deadline_s: float = 900.0
    max_attempts: int = 5
    upgrades_in_flight: int = 10
    upgrades_share: float = 0.1
    """Of a cluster's workers; always one."""
    renew_after_s: float = NINE_MONTHS_S
    backup_every_s: float = 0.0
    """0: never."""
    offered: tuple[str, ...] = ()
    """The Kubernetes versions that the playbooks install."""


@dataclass(frozen=True)
class Rest:
    """Nothing to do. `after`: look again then, seconds; None: until something is heard."""

    after: float | None = None


@dataclass(frozen=True)
class CancelRuns:
    """End these runs: their cluster is no longer wanted."""

    runs: tuple[UUID, ...]


@dataclass(frozen=True)
class MarkInterrupted:
    """Nobody drives these runs any more; what they were to do is decided anew."""

    runs: tuple[UUID, ...]


@dataclass(frozen=True)
class SayAgain:
    """The cluster was announced again: say every fact of ours again."""


@dataclass(frozen=True)
class NameFirst:
    """Say which control plane is the first, so that the endpoint leads to it."""

    node: NodeView


@dataclass(frozen=True)
class StartRun:
    """Run a playbook on these nodes, for this Kubernetes version."""

    play: Play
    nodes: tuple[NodeView, ...]
    version: str
    manager: NodeView | None = None
    """A control plane that commands about other nodes are given to."""
    upgrade_first: bool = False
    """No control plane has been brought to the version yet: this one takes the cluster's configuration there."""
    note: str = ""
    """How far the whole is of which this run is a part; told before each of its steps."""


@dataclass(frozen=True)
class SayDrained:
    """These nodes are in no cluster: their machines may go."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True)
class EnsureTokens:
    """Make the join tokens known to the running cluster."""


@dataclass(frozen=True)
class LookAtMembers:
    """Ask the kube-apiserver which nodes it lists; look again after `then` seconds while anything is outstanding."""

    then: float


@dataclass(frozen=True)
class SayDone:
    """Every node of the generation has joined and runs the wanted version."""

    nodes: int


@dataclass(frozen=True)
class Tell:
    """Say what holds one node up. The rest of the cluster goes on, and the node is tried again."""

    node: NodeView
    reason: str
    who_can_fix: WhoCanFix


@dataclass(frozen=True)
class SayHeld:
    """Say what waits for the maintenance window; empty: nothing any more."""

    reason: str


@dataclass(frozen=True)
class Abandon:
    """Say that a person has to look."""

    reason: str
    who_can_fix: WhoCanFix
    run_id: UUID | None = None


Step = (
    Rest
    | CancelRuns
    | MarkInterrupted
    | SayAgain
    | NameFirst
    | StartRun
    | SayDrained
    | EnsureTokens
    | LookAtMembers
    | SayDone
    | Tell
    | SayHeld
    | Abandon
)
