"""What is wanted of a cluster, and what is decided about it. Values that `decide` works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from uuid import UUID

from caravan_provisioner.nodes import Node, SetProgress
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import MachineState, Verdict


@dataclass(frozen=True, slots=True)
class Wanted:
    """The cluster as it was last asked for."""

    cluster_id: UUID
    name: str
    generation: int
    retry: int
    spec: ClusterSpec
    replace: frozenset[str] = frozenset()
    """Names of nodes that a person wants replaced."""
    retried_at: datetime | None = None
    """When a person last retried: whoever did has seen what was wrong until then."""
    verdict: Verdict | None = None
    """What health believes of the whole cluster."""
    rests: bool = False
    """It is asleep or being woken: nothing else is done for it meanwhile."""

    def has_seen(self, trouble_since: datetime | None) -> bool:
        """Whether a person retried after that trouble began."""
        return bool(self.retried_at and trouble_since and trouble_since <= self.retried_at)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the clouds under a cluster allow just now."""

    rebootable: frozenset[str] = frozenset()
    """Names of nodes whose machines run, as their cloud lists them, and can be rebooted."""
    storms: Mapping[str, str] = field(default_factory=dict)
    """Clouds so many of whose nodes are silent that none is repaired, each with the sentence that says so."""
    power_problems: Mapping[str, str] = field(default_factory=dict)
    """Names of nodes whose machines alone of their cloud's cannot be rebooted, and why."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How new nodes are asked for together: as many as one create call makes, and no more than a zone's share."""

    most: int
    zones: int = 1

    def size(self, count: int) -> int:
        """How many of so many nodes a batch has."""
        return max(1, min(self.most, ceil(count / self.zones)))


@dataclass(slots=True)
class Plan:
    """What follows: nodes and sets as they shall be, and whose machines to delete."""

    nodes: dict[str, Node]
    sets: dict[str, SetProgress]
    delete: list[str] = field(default_factory=list)
    """Ids of machines."""
    reboots: list[str] = field(default_factory=list)
    """Names of nodes whose machines to reboot."""
    calls: int = 0
    """Create calls planned."""
    look_again_at: datetime | None = None
    """When time alone changes the decision; None if only news can."""

    def put(self, node: Node) -> None:
        """Set a node's new state; a deletion starts with the state that says so."""
        is_new = self.nodes[node.name].state is not node.state
        if is_new and node.state is MachineState.DELETING and node.machine_id:
            self.delete.append(node.machine_id)
        self.nodes[node.name] = node

    def hold(self, node: Node, reason: str) -> None:
        """Note why a node stays that ought to go."""
        self.nodes[node.name] = replace(node, held=reason)

    def reboot(self, node: Node, now: datetime) -> None:
        """Have a node's machine rebooted."""
        self.reboots.append(node.name)
        self.nodes[node.name] = replace(node, reboot_asked_at=now, rebooted_at=None, reboot_refused=None)

    def look_again(self, at: datetime) -> None:
        """Come back no later than `at`."""
        self.look_again_at = min(self.look_again_at or at, at)
