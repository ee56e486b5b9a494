"""A node as the provisioner knows it, and how its set fares. Values only: `observe` and `decide` make new ones."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MACHINE_MOVES, MachineState, Verdict, move

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
    cloud: str = ""
    """Where its machine is or shall be."""
    joins_by_itself: bool = False
    """Its machine boots with user-data that joins it."""
    asked_at: datetime | None = None
    """When the cloud was last asked for the machine; None: surely no such call is open."""
    machine_id: str | None = None
    address: str | None = None
    host_keys: tuple[str, ...] = ()
    """The machine's public SSH host keys, as the cloud told them."""
    ssh_port: int = 22
    virtual_ip: str | None = None
    """Of a control plane: where a load balancer of the cloud's stands for its whole cluster."""
    listed: bool = False
    """A listing has shown the machine."""
    missing_since: datetime | None = None
    """The first listing that did not show it any more."""
    ready_at: datetime | None = None
    """When it first was Ready; from then on the cluster may know it."""
    drained_at: datetime | None = None
    joined_at: datetime | None = None
    """When its cluster first was told to have it as a member."""
    verdict: Verdict | None = None
    """What health believes of it, why, and since when."""
    verdict_reason: str | None = None
    verdict_since: datetime | None = None
    reboot_asked_at: datetime | None = None
    """When the cloud was last asked to reboot its machine."""
    rebooted_at: datetime | None = None
    """When it said that it does, or was seen to have. Neither this nor `reboot_refused`: nobody can tell."""
    reboot_refused: str | None = None
    """Why it did not."""
    reason: str | None = None
    who_can_fix: WhoCanFix | None = None
    said: MachineState | None = None
    """The last state that was told in an event."""
    held: str | None = None
    """Why it is not replaced or removed although it ought to be."""
    said_held: str | None = None
    """The last such reason that was told; empty: it has to be told again."""

    def to(self, state: MachineState, now: datetime) -> "Node":
        """The node in another state. Raises `IllegalMove`."""
        return replace(self, state=move(MACHINE_MOVES, self.state, state), since=now)

    def failed(self, reason: str, who_can_fix: WhoCanFix, now: datetime) -> "Node":
        """The node as failed, and why."""
        return replace(self.to(MachineState.FAILED, now), reason=reason, who_can_fix=who_can_fix)

    @property
    def is_member(self) -> bool:
        """Its cluster counts on it: it joined and is not out yet."""
        return (
            self.joined_at is not None
            and self.drained_at is None
            and self.state not in (MachineState.PLANNED, MachineState.DELETING, MachineState.REMOVED)
        )

    @property
    def is_dead(self) -> bool:
        """As far as anyone can tell, nothing runs on it: nothing is lost when it goes at once."""
        return (
            self.state is MachineState.FAILED
            or self.reason is not None
            or self.verdict is Verdict.UNREACHABLE
            or self.missing_since is not None
        )

    @property
    def is_silent(self) -> bool:
        """It ought to run, and health cannot reach it."""
        return self.state is MachineState.READY and self.verdict is Verdict.UNREACHABLE

    @property
    def is_well(self) -> bool:
        """A member that runs, and that nobody has reason to doubt."""
        return self.is_member and self.state is MachineState.READY and not self.is_dead

    @property
    def reboot_is_open(self) -> bool:
        """The cloud was asked to reboot its machine, and nobody can tell whether it did."""
        return self.reboot_asked_at is not None and self.rebooted_at is None and self.reboot_refused is None

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
