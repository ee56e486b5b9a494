"""Conclude one node's state from all that was told about it. Pure.

A node's machine only ever moves forward (`MACHINE_MOVES`), so the furthest move that was told counts, whatever the
order in which the tellings arrive.
"""

from enum import StrEnum

from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET, Role
from caravan_shared.contracts.states import MachineState


class NodeState(StrEnum):
    """A node as people see it: the machine's and the member's state in one word."""

    PLANNED = "Planned"
    """Named by someone, but the provisioner has not told of its machine yet."""
    CREATING = "Creating"
    """The cloud is making its machine."""
    MADE = "Made"
    """Its machine runs; it has not joined yet."""
    JOINED = "Joined"
    """The cluster's kube-apiserver lists it."""
    FAILED = "Failed"
    """Its machine could not be made or is lost."""
    LEAVING = "Leaving"
    """It is no longer wanted: drained, then deleted."""
    REMOVED = "Removed"
    """Its machine is gone."""


PROGRESS = (
    MachineState.PLANNED,
    MachineState.CREATING,
    MachineState.READY,
    MachineState.FAILED,
    MachineState.LEAVING,
    MachineState.REMOVED,
)
"""The machine's states that are told, in the only order in which they can follow each other."""


def further(old: MachineState, new: MachineState) -> MachineState:
    """The one of two told machine states that can only come after the other."""
    return max(old, new, key=PROGRESS.index)


def node_state(machine: MachineState, *, joined: bool, drained: bool) -> NodeState:
    """One word for a node, from its machine's furthest state and its membership."""
    if machine is MachineState.REMOVED:
        return NodeState.REMOVED
    if machine is MachineState.LEAVING or drained:
        return NodeState.LEAVING
    if machine is MachineState.FAILED:
        return NodeState.FAILED
    if joined:
        return NodeState.JOINED
    return {
        MachineState.READY: NodeState.MADE,
        MachineState.CREATING: NodeState.CREATING,
    }.get(machine, NodeState.PLANNED)


def role_of(node_set: str) -> Role:
    """The role of a node set, by its name: those of the control plane and of etcd are reserved."""
    return {CONTROL_PLANE_SET: Role.CONTROL_PLANE, ETCD_SET: Role.ETCD}.get(node_set, Role.WORKER)
