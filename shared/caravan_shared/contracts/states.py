"""The states things go through, and the only moves allowed between them.

Each machine is one enum and one table; `docs/states.md` is drawn from them. A move that the table does not name is a
defect of ours, never a user's error, so `move` raises.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class ClusterPhase(StrEnum):
    """How far a cluster is, as the api tells it. Health is another matter: see `Verdict`."""

    REQUESTED = "Requested"
    """Accepted and stored; no machine has been asked for yet."""
    PROVISIONING = "Provisioning"
    """Machines are in the making."""
    BOOTSTRAPPING = "Bootstrapping"
    """kubeadm is at work: the first control plane, then the nodes that join."""
    READY = "Ready"
    """Every node of the wanted generation has joined."""
    UPDATING = "Updating"
    """The cluster was Ready and is being brought to a newer generation of its spec."""
    HIBERNATING = "Hibernating"
    """It is being put to sleep: its machines are being stopped, their disks, names and addresses kept."""
    HIBERNATED = "Hibernated"
    """All its machines are stopped. Nothing of it runs until somebody wakes it."""
    WAKING = "Waking"
    """Its machines are being started again; it is Ready once they run and its kube-apiserver answers."""
    FAILED = "Failed"
    """A service gave up; a person reads why, mends it and retries."""
    DELETING = "Deleting"
    """Machines, records and credentials are being taken away."""
    DELETED = "Deleted"
    """Nothing is left outside Caravan's own history."""


class MachineState(StrEnum):
    """How far the machine under a node is: the provisioner's view."""

    PLANNED = "Planned"
    """The node has a name; the cloud may or may not have been asked yet."""
    CREATING = "Creating"
    """The cloud knows the machine and is making it."""
    READY = "Ready"
    """The machine runs and has an address."""
    FAILED = "Failed"
    """The cloud could not make it, or it vanished; a replacement is planned within limits."""
    LEAVING = "Leaving"
    """The node is no longer wanted and is being drained."""
    DELETING = "Deleting"
    """The cloud has been asked to delete the machine."""
    REMOVED = "Removed"
    """The cloud no longer lists the machine."""


class MembershipState(StrEnum):
    """How far a node is as a member of its Kubernetes cluster: the bootstrapper's view."""

    WAITING = "Waiting"
    """The machine is there; its turn to join has not come."""
    JOINING = "Joining"
    """kubeadm works on it, or it joins by itself from its user-data."""
    JOINED = "Joined"
    """The cluster's kube-apiserver lists the node."""
    DRAINING = "Draining"
    """Its pods are being moved elsewhere."""
    DRAINED = "Drained"
    """It is out of the cluster; its machine may go."""
    FAILED = "Failed"
    """kubeadm gave up on it."""


class Verdict(StrEnum):
    """What health believes of a cluster or a node. Any verdict may follow any other."""

    HEALTHY = "Healthy"
    """It answers, and everything it says of itself is well."""
    DEGRADED = "Degraded"
    """It answers and serves, but a part of it is not well."""
    UNREACHABLE = "Unreachable"
    """It did not answer several times in a row while the monitor itself was well, nor another replica of it, if any."""
    UNKNOWN = "Unknown"
    """Not asked yet, or the monitor was not fit to judge, or cut off from it. Never a fault of the cluster's."""


class InventoryState(StrEnum):
    """How far a machine of an inventory is, whatever node may be on it."""

    CHECKING = "Checking"
    """New, changed or let out of quarantine; it is looked at, and nothing on it is changed."""
    AVAILABLE = "Available"
    """Found fit and clean: a cluster may claim it."""
    CLAIMED = "Claimed"
    """It belongs to a node of a cluster."""
    CLEANING = "Cleaning"
    """Its node is gone; it is wiped and checked before anybody may have it."""
    QUARANTINED = "Quarantined"
    """A check or a wipe failed, or it did not answer: an operator looks and lets it out."""


class LeaseState(StrEnum):
    """How far a lease of a pool's cluster is."""

    WAITING = "Waiting"
    """It stands in the pool's queue: no spare is ready, or others came first."""
    HELD = "Held"
    """Its holder has a cluster, until the lease ends or is given back."""
    KEPT = "Kept"
    """Given back, with its cluster left for a while to look for what went wrong."""
    ENDED = "Ended"
    """Its cluster, if it ever had one, is being deleted; nobody gets it again."""


S = TypeVar("S", bound=StrEnum)

C, M, J, I, L = ClusterPhase, MachineState, MembershipState, InventoryState, LeaseState  # noqa: E741

CLUSTER_MOVES: Mapping[ClusterPhase, frozenset[ClusterPhase]] = {
    # Updating: the last fact about one generation arrives when a newer one is wanted already.
    C.REQUESTED: frozenset({C.PROVISIONING, C.BOOTSTRAPPING, C.READY, C.UPDATING, C.FAILED, C.DELETING}),
    C.PROVISIONING: frozenset({C.BOOTSTRAPPING, C.READY, C.UPDATING, C.FAILED, C.DELETING}),
    # A machine that fails while kubeadm is at work sends the cluster back to waiting for machines.
    C.BOOTSTRAPPING: frozenset({C.PROVISIONING, C.READY, C.UPDATING, C.FAILED, C.DELETING}),
    C.READY: frozenset({C.UPDATING, C.HIBERNATING, C.FAILED, C.DELETING}),
    C.UPDATING: frozenset({C.READY, C.FAILED, C.DELETING}),
    C.HIBERNATING: frozenset({C.HIBERNATED, C.WAKING, C.FAILED, C.DELETING}),
    # Somebody started a machine by hand: it is stopped again.
    C.HIBERNATED: frozenset({C.HIBERNATING, C.WAKING, C.FAILED, C.DELETING}),
    # Updating: control planes were lost while it slept, and others have to take their place.
    C.WAKING: frozenset({C.READY, C.UPDATING, C.HIBERNATING, C.FAILED, C.DELETING}),
    # A retry, or a fact that arrives late, lifts a failure.
    C.FAILED: frozenset(
        {
            C.REQUESTED,
            C.PROVISIONING,
            C.BOOTSTRAPPING,
            C.UPDATING,
            C.READY,
            C.HIBERNATING,
            C.HIBERNATED,
            C.WAKING,
            C.DELETING,
        }
    ),
    C.DELETING: frozenset({C.DELETED}),
    C.DELETED: frozenset(),
}

MACHINE_MOVES: Mapping[MachineState, frozenset[MachineState]] = {
    M.PLANNED: frozenset({M.CREATING, M.READY, M.FAILED, M.REMOVED}),
    M.CREATING: frozenset({M.READY, M.FAILED, M.LEAVING, M.DELETING, M.REMOVED}),
    M.READY: frozenset({M.LEAVING, M.FAILED, M.DELETING, M.REMOVED}),
    # Draining is asked for even of a failed machine's node: the cluster still lists it.
    M.FAILED: frozenset({M.LEAVING, M.DELETING, M.REMOVED}),
    M.LEAVING: frozenset({M.DELETING, M.REMOVED}),
    M.DELETING: frozenset({M.REMOVED}),
    M.REMOVED: frozenset(),
}

MEMBERSHIP_MOVES: Mapping[MembershipState, frozenset[MembershipState]] = {
    J.WAITING: frozenset({J.JOINING, J.JOINED, J.FAILED, J.DRAINING, J.DRAINED}),
    # A run that ends without the node goes back to waiting for the next one.
    J.JOINING: frozenset({J.WAITING, J.JOINED, J.FAILED, J.DRAINING, J.DRAINED}),
    J.JOINED: frozenset({J.DRAINING, J.DRAINED, J.FAILED}),
    J.FAILED: frozenset({J.WAITING, J.JOINED, J.DRAINING, J.DRAINED}),
    J.DRAINING: frozenset({J.DRAINED, J.FAILED}),
    J.DRAINED: frozenset(),
}

INVENTORY_MOVES: Mapping[InventoryState, frozenset[InventoryState]] = {
    I.CHECKING: frozenset({I.AVAILABLE, I.QUARANTINED}),
    # Checked anew when its operator says that it is reached in another way.
    I.AVAILABLE: frozenset({I.CLAIMED, I.CHECKING}),
    # Never straight back: whoever had it may have left anything on it.
    I.CLAIMED: frozenset({I.CLEANING}),
    I.CLEANING: frozenset({I.AVAILABLE, I.QUARANTINED}),
    I.QUARANTINED: frozenset({I.CHECKING, I.CLEANING}),
}

LEASE_MOVES: Mapping[LeaseState, frozenset[LeaseState]] = {
    L.WAITING: frozenset({L.HELD, L.ENDED}),
    L.HELD: frozenset({L.KEPT, L.ENDED}),
    L.KEPT: frozenset({L.ENDED}),
    L.ENDED: frozenset(),
}


class IllegalMove(Exception):
    """A state machine was asked for a move that its table does not name."""

    def __init__(self, old: StrEnum, new: StrEnum) -> None:
        super().__init__(f"{type(old).__name__} cannot go from {old} to {new}")
        self.old, self.new = old, new


def move(moves: Mapping[S, frozenset[S]], old: S, new: S) -> S:
    """Return `new` if `old` may become it (staying put always may); raise `IllegalMove` otherwise."""
    if new != old and new not in moves[old]:
        raise IllegalMove(old, new)
    return new
