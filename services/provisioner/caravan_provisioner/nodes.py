"""A node as the provisioner knows it, and how its set fares. Values only: `observe` and `decide` make new ones."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MACHINE_MOVES, MachineState, move

GONE = frozenset({MachineState.LEAVING, MachineState.DELETING, MachineState.REMOVED})
"""States of nodes that no longer count as their set's."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node and the machine under it."""

    cluster_id: UUID
    name: str
    node_set: str
    role: Role
    batch: str
    number: int
    machine_type: str
    planned_at: datetime
    state: MachineState
    since: datetime
    """When `state` was entered, or the deletion was last asked for."""
    joins_by_itself: bool = False
    """Its machine boots with user-data that joins it."""
    asked_at: datetime | None = None
    """When the cloud was last asked for the machine; None: surely no such call is open."""
    machine_id: str | None = None
    address: str | None = None
    listed: bool = False
    """A listing has shown the machine."""
    missing_since: datetime | None = None
    """The first listing that did not show it any more."""
    ready_at: datetime | None = None
    """When it first was Ready; from then on the cluster may know it."""
    drained_at: datetime | None = None
    reason: str | None = None
    who_can_fix: WhoCanFix | None = None
    said: MachineState | None = None
    """The last state that was told in an event."""

    def to(self, state: MachineState, now: datetime) -> "Node":
        """The node in another state. Raises `IllegalMove`."""
        return replace(self, state=move(MACHINE_MOVES, self.state, state), since=now)

    def failed(self, reason: str, who_can_fix: WhoCanFix, now: datetime) -> "Node":
        """The node as failed, and why."""
        return replace(self.to(MachineState.FAILED, now), reason=reason, who_can_fix=who_can_fix)

    @property
    def prefix(self) -> str:
        """The name without its number; shared by the machines of one batch."""
        return self.name.removesuffix(f"-{self.number}")


@dataclass(frozen=True, slots=True)
class SetProgress:
    """How the replacing of a set's failed nodes goes."""

    cluster_id: UUID
    node_set: str
    generation: int = 0
    retry: int = 0
    """The request under which the rest was counted: a newer one starts afresh."""
    attempts: int = 0
    """Rounds of replacement so far."""
    last_failure_at: datetime | None = None
    retry_at: datetime | None = None
    """When the next round is due."""
    gave_up: bool = False
