"""Compare a cloud's listing with our nodes: who came up, failed, vanished or is gone. Pure: no network, no clock."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState

_MADE = frozenset({MachineState.CREATING, MachineState.READY})


@dataclass(frozen=True, slots=True)
class Observation:
    """The nodes as they are now, and ids of machines that no node needs."""

    nodes: list[Node]
    strays: list[str]


def observe(
    nodes: Iterable[Node],
    machines: Sequence[Machine],
    taken_at: datetime,
    limits: Limits,
    *,
    adopting: bool,
    pull: bool,
) -> Observation:
    """What a listing of one cluster's machines, begun at `taken_at`, says about its nodes.

    With `adopting`, a machine that no node has becomes a node: the cloud is the truth and the store a copy. Without it
    (the cluster is to go), it is a stray. `pull`: the cloud's machines run user-data.
    """
    nodes = list(nodes)
    # A machine we know by its id stays its node's, even if someone renamed it.
    names = {node.machine_id: node.name for node in nodes if node.machine_id}
    by_name: dict[str, list[Machine]] = defaultdict(list)
    for machine in machines:
        by_name[names.get(machine.id, machine.name)].append(machine)
    seen: list[Node] = []
    strays: list[str] = []
    for node in nodes:
        found = by_name.pop(node.name, None)
        if not found:
            seen.append(_unlisted(node, taken_at, limits))
        elif node.state is MachineState.REMOVED:
            strays.extend(machine.id for machine in found)
            seen.append(node)
        elif node.state is MachineState.DELETING:
            if taken_at >= node.since + timedelta(seconds=limits.delete_again_s):
                strays.extend(machine.id for machine in found)
                node = replace(node, since=taken_at)
            seen.append(node)
        else:
            kept = _keep(node, found)
            strays.extend(machine.id for machine in found if machine is not kept)
            seen.append(_listed(node, kept, taken_at, limits) if kept else _unlisted(node, taken_at, limits))
    for name, unknown in by_name.items():
        best = _best(unknown)
        if not adopting:
            strays.extend(machine.id for machine in unknown)
        elif adopted := _adopt(name, best, taken_at, pull):
            seen.append(_listed(adopted, best, taken_at, limits))
            strays.extend(machine.id for machine in unknown if machine is not best)
    return Observation(seen, strays)


def _unlisted(node: Node, taken_at: datetime, limits: Limits) -> Node:
    """A listing begun before the node's last change proves nothing about its machine."""
    if node.state is MachineState.PLANNED:
        if node.asked_at and taken_at >= node.asked_at + timedelta(seconds=limits.settle_s):
            return replace(node, asked_at=None)
        return node
    if taken_at <= node.since:
        return node
    if node.state is MachineState.DELETING:
        return node.to(MachineState.REMOVED, taken_at)
    if node.state not in _MADE:
        return node
    if not node.listed:
        return _check_building(node, taken_at, limits)
    if node.missing_since is None:
        return replace(node, missing_since=taken_at)
    if taken_at > node.missing_since:
        return node.failed("the cloud no longer lists its machine", WhoCanFix.OPERATOR, taken_at)
    return node


def _listed(node: Node, machine: Machine, taken_at: datetime, limits: Limits) -> Node:
    if node.state is MachineState.PLANNED:
        node = made(node, machine, taken_at)
    if not node.listed or node.missing_since:
        node = replace(node, listed=True, missing_since=None)
    if node.state not in _MADE:
        return node
    if machine.state is CloudMachineState.ERROR:
        return node.failed(machine.fault or "the cloud reports an error", WhoCanFix.OPERATOR, taken_at)
    if node.state is MachineState.CREATING and machine.state is CloudMachineState.ACTIVE and machine.address:
        ready = node.to(MachineState.READY, taken_at)
        return replace(ready, address=machine.address, ready_at=taken_at)
    return _check_building(node, taken_at, limits)


def made(node: Node, machine: Machine, now: datetime) -> Node:
    """The planned node, now that the cloud told the id of its machine."""
    return replace(node.to(MachineState.CREATING, now), machine_id=machine.id, asked_at=None)


def _check_building(node: Node, taken_at: datetime, limits: Limits) -> Node:
    if node.state is MachineState.CREATING and taken_at >= node.since + timedelta(seconds=limits.build_limit_s):
        return node.failed(
            f"its machine was still building after {limits.build_limit_s:g} s", WhoCanFix.OPERATOR, taken_at
        )
    return node


def _keep(node: Node, found: list[Machine]) -> Machine | None:
    """An ambiguous create may have made several machines of one name: keep the one we know, or else the best."""
    if node.machine_id is None:
        return _best(found)
    return next((machine for machine in found if machine.id == node.machine_id), None)


def _best(found: list[Machine]) -> Machine:
    order = (CloudMachineState.ACTIVE, CloudMachineState.BUILDING, CloudMachineState.ERROR)
    return min(found, key=lambda machine: (order.index(machine.state), machine.created_at, machine.id))


def _adopt(name: str, machine: Machine, taken_at: datetime, pull: bool) -> Node | None:
    """A node for a machine that the store does not know, or None where its name is not one of ours."""
    _, _, number = name.rpartition("-")
    if machine.owner is None or not number.isdecimal():
        return None
    return Node(
        cluster_id=machine.owner.cluster_id,
        name=name,
        node_set=machine.owner.node_set,
        role=machine.owner.role,
        batch=machine.owner.batch,
        number=int(number),
        machine_type=machine.machine_type,
        planned_at=machine.created_at,
        state=MachineState.CREATING,
        since=taken_at,
        joins_by_itself=pull and machine.owner.role is Role.WORKER,
        machine_id=machine.id,
        listed=True,
    )
