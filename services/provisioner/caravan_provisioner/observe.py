"""Compare a cloud's listing with our nodes: who came up, failed, vanished or is gone. Pure: no network, no clock."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from caravan_provisioner.breaker import vanished_too_many
from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import Node
from caravan_provisioner.reboot import is_rebooting
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState

_MADE = frozenset({MachineState.CREATING, MachineState.READY})
_FROM_BEST = (
    CloudMachineState.ACTIVE,
    CloudMachineState.STOPPED,
    CloudMachineState.BUILDING,
    CloudMachineState.ERROR,
)


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
    cloud: str = "",
    needs_host_keys: bool = False,
    seen_by_a_person: Callable[[datetime], bool] = lambda _since: False,
    rests: bool = False,
) -> Observation:
    """What a listing of one cluster's machines, begun at `taken_at`, says about its nodes.

    With `adopting`, a machine that no node has becomes a node: the cloud is the truth and the store a copy. Without it
    (the cluster is to go), it is a stray. `cloud`: the one that was listed. `pull`: its workers join by themselves.
    `needs_host_keys`: nobody connects to a machine before the cloud has told its host keys. `seen_by_a_person`: someone
    retried after trouble that began then. `rests`: the cluster is asleep or being woken, and a machine may be
    stopped.
    """
    nodes = list(nodes)
    # A machine we know by its id stays its node's, even if someone renamed it.
    names = {node.machine_id: node.name for node in nodes if node.machine_id}
    by_name: dict[str, list[Machine]] = defaultdict(list)
    for machine in machines:
        by_name[names.get(machine.id, machine.name)].append(machine)
    held = _held(nodes, by_name, limits, seen_by_a_person)
    look = _Look(taken_at, limits, needs_host_keys, held, rests=rests)
    seen: list[Node] = []
    strays: list[str] = []
    for node in nodes:
        found = by_name.pop(node.name, None)
        if not found:
            seen.append(look.unlisted(node))
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
            seen.append(look.listed(node, kept) if kept else look.unlisted(node))
    for name, unknown in by_name.items():
        best = _best(unknown)
        if not adopting:
            strays.extend(machine.id for machine in unknown)
        elif adopted := _adopt(name, best, taken_at, cloud, pull=pull):
            seen.append(look.listed(adopted, best))
            strays.extend(machine.id for machine in unknown if machine is not best)
    return Observation(seen, strays)


def _held(
    nodes: Sequence[Node],
    listed: Mapping[str, list[Machine]],
    limits: Limits,
    seen_by_a_person: Callable[[datetime], bool],
) -> Mapping[str, str]:
    """Nodes whose machines vanished together with too many others: why they are not given up, by name."""
    missing = [
        node
        for node in nodes
        if node.state is MachineState.READY
        and node.listed
        and node.name not in listed
        and not (node.missing_since and seen_by_a_person(node.missing_since))
    ]
    return vanished_too_many(nodes, missing, limits)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one listing says about one node."""

    taken_at: datetime
    limits: Limits
    needs_host_keys: bool
    held: Mapping[str, str]
    rests: bool

    def unlisted(self, node: Node) -> Node:
        """A listing begun before the node's last change proves nothing about its machine."""
        taken_at = self.taken_at
        if node.state is MachineState.PLANNED:
            if node.asked_at and taken_at >= node.asked_at + timedelta(seconds=self.limits.settle_s):
                return replace(node, asked_at=None)
            return node
        if taken_at <= node.since:
            return node
        if node.state is MachineState.DELETING:
            return node.to(MachineState.REMOVED, taken_at)
        if node.state not in _MADE:
            return node
        if not node.listed:
            return self._check_building(node)
        if node.missing_since is None:
            return replace(node, missing_since=taken_at)
        if node.name in self.held:
            return replace(node, held=self.held[node.name])
        if taken_at > node.missing_since:
            return node.failed("the cloud no longer lists its machine", WhoCanFix.OPERATOR, taken_at)
        return node

    def listed(self, node: Node, machine: Machine) -> Node:
        """The node with its machine before us."""
        if node.state is MachineState.PLANNED:
            node = made(node, machine, self.taken_at)
        if not node.listed or node.missing_since:
            node = replace(node, listed=True, missing_since=None)
        if machine.host_keys and not node.host_keys:
            node = replace(node, host_keys=machine.host_keys)
        if machine.virtual_ip and machine.virtual_ip != node.virtual_ip:
            node = replace(node, virtual_ip=machine.virtual_ip, said=None)
        if node.state not in _MADE:
            return node
        node = self._settle_reboot(node, machine)
        if machine.state is CloudMachineState.ERROR or self._stopped_by_itself(node, machine):
            return node.failed(machine.fault or "the cloud reports an error", WhoCanFix.OPERATOR, self.taken_at)
        if node.state is MachineState.CREATING and self._can_be_reached(node, machine):
            ready = node.to(MachineState.READY, self.taken_at)
            return replace(ready, address=machine.address, ssh_port=machine.ssh_port, ready_at=self.taken_at)
        return self._check_building(node, machine.fault)

    def _settle_reboot(self, node: Node, machine: Machine) -> Node:
        """A reboot that was asked for and never answered was carried out if the cloud has touched the machine since.

        If not, it is asked for again. Where a cloud cannot tell, it counts as carried out.
        """
        asked_at, settle = node.reboot_asked_at, timedelta(seconds=self.limits.settle_s)
        if asked_at is None or not node.reboot_is_open or self.taken_at < asked_at + settle:
            return node
        if machine.touched_at is None or machine.touched_at >= asked_at - settle:  # its clock is another one
            return replace(node, rebooted_at=asked_at)
        return replace(node, reboot_asked_at=None)

    def _stopped_by_itself(self, node: Node, machine: Machine) -> bool:
        is_meant = self.rests or is_rebooting(node, self.taken_at, self.limits)
        return machine.state is CloudMachineState.STOPPED and machine.fault is not None and not is_meant

    def _can_be_reached(self, node: Node, machine: Machine) -> bool:
        is_known = bool(node.host_keys) or not self.needs_host_keys
        return machine.state is CloudMachineState.ACTIVE and bool(machine.address) and is_known

    def _check_building(self, node: Node, fault: str | None = None) -> Node:
        limit_s = self.limits.build_limit_s
        if self.rests or node.state is not MachineState.CREATING:
            return node
        if self.taken_at < node.since + timedelta(seconds=limit_s):
            return node
        lacks = " or had told no SSH host keys" if self.needs_host_keys else ""
        reason = f"its machine was still building{lacks} after {limit_s:g} s"
        if fault:
            reason = f"after {limit_s:g} s it could still not be used: {fault}"
        return node.failed(reason, WhoCanFix.OPERATOR, self.taken_at)


def made(node: Node, machine: Machine, now: datetime) -> Node:
    """The planned node, now that the cloud told the id of its machine."""
    return replace(node.to(MachineState.CREATING, now), machine_id=machine.id, asked_at=None)


def _keep(node: Node, found: list[Machine]) -> Machine | None:
    """An ambiguous create may have made several machines of one name: keep the one we know, or else the best."""
    if node.machine_id is None:
        return _best(found)
    return next((machine for machine in found if machine.id == node.machine_id), None)


def _best(found: list[Machine]) -> Machine:
    return min(found, key=lambda machine: (_FROM_BEST.index(machine.state), machine.created_at, machine.id))


def _adopt(name: str, machine: Machine, taken_at: datetime, cloud: str, *, pull: bool) -> Node | None:
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
        cloud=cloud,
        planned_at=machine.created_at,
        state=MachineState.CREATING,
        since=taken_at,
        joins_by_itself=pull and machine.owner.role is Role.WORKER,
        machine_id=machine.id,
        listed=True,
    )
