"""Decide which machines of a cluster are stopped or started next, and how far that is. Pure: no network, no clock.

What counts is the newest listing, never what was asked before: a machine that somebody starts by hand while its cluster
sleeps is stopped again, and one that did not start is asked for again. A waking comes to its end all the same: what has
not started in the time that a machine may take to be made is from then on a fault like any other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from caravan_provisioner.clouds.base import CloudMachineState
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_shared.contracts.states import MachineState

_STOPPED_WITH_THEIR_CLUSTER = frozenset(
    {MachineState.CREATING, MachineState.READY, MachineState.FAILED, MachineState.LEAVING}
)
_WOKEN = _STOPPED_WITH_THEIR_CLUSTER - {MachineState.FAILED}
"""A failed node's machine is replaced after the waking, so nobody waits for it."""


@dataclass(frozen=True, slots=True)
class PowerStep:
    """What is to be done now, and how many machines run and are stopped."""

    switch: tuple[Node, ...]
    """Nodes whose machines are to be stopped, or started."""
    running: int
    stopped: int
    complete: bool
    """All are as they shall be, or were waited for long enough."""


def power_step(
    nodes: Iterable[Node], states: Mapping[str, CloudMachineState], *, asleep: bool, since_s: float, limits: Limits
) -> PowerStep:
    """The next step of putting a cluster to sleep or waking it, `since_s` seconds after that was asked for.

    `states` is the newest listing's, by machine id.
    """
    nodes = list(nodes)
    counted = _STOPPED_WITH_THEIR_CLUSTER if asleep else _WOKEN
    of_them = [(node, states.get(node.machine_id or "")) for node in nodes if node.state in counted]
    listed = [(node, state) for node, state in of_them if state and state is not CloudMachineState.ERROR]
    wanted, other = CloudMachineState.STOPPED, CloudMachineState.ACTIVE
    if not asleep:
        wanted, other = other, wanted
    as_wanted = sum(state is wanted for _, state in listed)
    stopped = sum(state is CloudMachineState.STOPPED for _, state in listed)
    may_appear = asleep and any(node.state is MachineState.PLANNED and node.asked_at for node in nodes)
    return PowerStep(
        switch=tuple(node for node, state in listed if state is other),
        running=len(listed) - stopped,
        stopped=stopped,
        complete=(as_wanted == len(listed) and not may_appear) or (not asleep and since_s > limits.build_limit_s),
    )
