"""What is wanted of a cluster, and what is decided about it. Values that `decide` works with."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from caravan_provisioner.nodes import Node, SetProgress
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import MachineState


@dataclass(frozen=True, slots=True)
class Wanted:
    """The cluster as it was last asked for."""

    cluster_id: UUID
    name: str
    generation: int
    retry: int
    spec: ClusterSpec


@dataclass(slots=True)
class Plan:
    """What follows: nodes and sets as they shall be, and whose machines to delete."""

    nodes: dict[str, Node]
    sets: dict[str, SetProgress]
    delete: list[str] = field(default_factory=list)
    """Ids of machines."""
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

    def look_again(self, at: datetime) -> None:
        """Come back no later than `at`."""
        self.look_again_at = min(self.look_again_at or at, at)
