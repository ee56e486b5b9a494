"""Let control-plane and etcd nodes go one at a time, and only while those that stay keep their quorum. Pure.

The rules are etcd's own (https://etcd.io/docs/v3.5/op-guide/runtime-configuration/): a change of members needs the
majority of the present ones, and no member is added while another does not answer. Hence

    dead member       may go if the majority of all members is well without it; its successor joins afterwards
    healthy member    may go once every other control-plane and etcd node has joined and is well
    never a member    may go at any time: nobody counts on it
"""

from collections import Counter
from collections.abc import Iterable

from caravan_provisioner.nodes import GONE, Node
from caravan_provisioner.plan import Plan, Wanted
from caravan_shared.contracts.spec import Role, Topology
from caravan_shared.contracts.states import MachineState, Verdict


class Turnstile:
    """Asked before each control-plane or etcd node leaves; sees what the plan has decided so far."""

    def __init__(self, plan: Plan, wanted: Wanted) -> None:
        self._plan, self._wanted = plan, wanted
        self._names = [node.name for node in plan.nodes.values() if node.role is not Role.WORKER]

    def carries_etcd(self, role: Role) -> bool:
        """Whether nodes of this role are members of etcd."""
        return role is Role.ETCD or (role is Role.CONTROL_PLANE and self._wanted.spec.topology is Topology.STACKED)

    def refuses(self, node: Node) -> str | None:
        """Why the node may not leave now; None where it may. Workers always may."""
        if node.role is Role.WORKER or not node.is_member:
            return None
        others = self._others(node)
        leaving = next(
            (other for other in others if other.state is MachineState.LEAVING and not other.drained_at), None
        )
        if leaving:
            return f"{leaving.name} leaves first: {_ONE_AT_A_TIME}"
        return self._refuses_dead(node, others) if node.is_dead else _refuses_healthy(others)

    def refuses_to_give_up(self, node: Node) -> str | None:
        """Why a node that is only out of sight may not be called dead; None where it may."""
        if node.role is Role.WORKER or not node.is_member:
            return None
        failed = next((other for other in self._others(node) if other.state is MachineState.FAILED), None)
        return f"{failed.name} is replaced first: {_ONE_AT_A_TIME}" if failed else self.refuses(node)

    def refuses_to_begin(self, node: Node) -> str | None:
        """Why no successor of a node that runs may be made yet; None where one may."""
        others = self._others(node)
        if node.role is Role.WORKER or not any(each.is_member for each in (node, *others)):
            return None
        leaving = next((other for other in others if other.state in GONE), None)
        if leaving:
            return f"{leaving.name} leaves first: {_ONE_AT_A_TIME}"
        return self._refuses_beside_another(others) or _refuses_healthy(others)

    def _refuses_beside_another(self, others: Iterable[Node]) -> str | None:
        """A set that has a successor already is about to let somebody go."""
        sizes = Counter(other.node_set for other in others if other.state not in GONE)
        for node_set in self._wanted.spec.node_sets():
            if sizes[node_set.name] > node_set.count:
                return f"a node of {node_set.name} is replaced first: {_ONE_AT_A_TIME}"
        return None

    def _others(self, node: Node) -> list[Node]:
        nodes = (self._plan.nodes[name] for name in self._names if name != node.name)
        return [other for other in nodes if other.state is not MachineState.REMOVED]

    def _refuses_dead(self, node: Node, others: Iterable[Node]) -> str | None:
        if node.state is MachineState.FAILED and self._wanted.has_seen(node.since):
            return None
        peers = [other for other in others if other.node_set == node.node_set and other.is_member]
        well = sum(peer.is_well for peer in peers)
        if not self.carries_etcd(node.role):
            return None if well else "no other control plane is well, so no successor could join"
        members = len(peers) + 1
        if well > members // 2:
            return None
        return (
            f"{well} of etcd's {members} members are well, which is no majority: without it no member can be replaced. "
            "Bring one back or restore a backup; a retry replaces what has failed nevertheless"
        )


_ONE_AT_A_TIME = "one control-plane or etcd node at a time"


def _refuses_healthy(others: Iterable[Node]) -> str | None:
    for other in others:
        if other.state not in GONE and not other.is_well:
            return f"{other.name} {_trouble(other)}: {_ONE_AT_A_TIME}"
    return None


def _trouble(node: Node) -> str:
    if node.state is MachineState.FAILED:
        return "has failed"
    if node.verdict is Verdict.UNREACHABLE or node.missing_since:
        return "is out of sight"
    return "has not joined yet"
