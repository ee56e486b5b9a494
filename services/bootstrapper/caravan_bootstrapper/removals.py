"""Which nodes leave the cluster next. Pure.

Workers leave together. Members of etcd leave one at a time, dead ones first, and a living one only while all the others
are well: etcd changes its membership by majority (https://etcd.io/docs/v3.6/faq/#should-i-add-a-member-before-removing-an-unhealthy-member).
"""

from datetime import datetime

from caravan_bootstrapper.steps import Policy, Tell
from caravan_bootstrapper.troubles import wait_left
from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Role, Topology
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.states import Verdict

_CORE = (Role.CONTROL_PLANE, Role.ETCD)


def to_remove(seen: ClusterView) -> tuple[NodeView, ...]:
    """Nodes that are to leave, and members whose machine is gone: the cluster would list them for ever.

    A node that is to leave counts whatever we believe of it: it may have joined by itself a moment ago.
    """
    return tuple(
        node
        for node in seen.nodes
        if node.state is not M.DRAINED and ((node.leaving and not node.gone) or (node.gone and node.member))
    )


def next_removal(seen: ClusterView, now: datetime) -> tuple[NodeView, ...]:
    """The nodes of the next removal run; empty while none may go."""
    due = [node for node in to_remove(seen) if not wait_left(node, now)]
    core = sorted((node for node in due if node.role in _CORE), key=lambda node: (not node.dead, node.name))
    for node in core:
        if may_leave(seen, node):
            return (node,)
    return tuple(node for node in due if node.role not in _CORE)


def may_leave(seen: ClusterView, node: NodeView) -> bool:
    """Whether etcd and the endpoint outlive the node's removal, as far as we know."""
    if not node.member:
        return True  # and where it has a part of a membership, the play asks etcd itself before it takes that away
    others = _others(seen, node)
    well = [other for other in others if not _unwell(other)]
    if node.role is Role.CONTROL_PLANE and seen.spec.topology is Topology.EXTERNAL:
        return bool(well)
    if node.dead:
        return len(well) > (len(others) + 1) // 2  # the majority of today's members has to agree
    if any(other.state in (M.WAITING, M.JOINING) for other in seen.live(*_roles(node))):
        return False  # its successor joins first: never fewer members than need be
    return bool(well) and len(well) == len(others)


def held(seen: ClusterView, now: datetime, policy: Policy) -> Tell | None:
    """What keeps a member of etcd from leaving, once that has lasted."""
    core = [node for node in to_remove(seen) if node.role in _CORE]
    if any(may_leave(seen, node) for node in core):
        return None  # which may be all that the others wait for
    for node in core:
        unwell = [other for other in _others(seen, node) if _has_lasted(other, now, policy)]
        if unwell and not node.failure:
            reason = _held_sentence(node, unwell)
            return Tell(node, reason, WhoCanFix.OPERATOR) if node.told != reason else None
    return None


def _held_sentence(node: NodeView, unwell: list[NodeView]) -> str:
    names, are = ", ".join(other.name for other in unwell), "is" if len(unwell) == 1 else "are"
    return (
        f"{node.name} can't leave yet: {names} {are} not well, and the cluster could lose its etcd; "
        "mend or replace what is not well first"
    )


def _roles(node: NodeView) -> tuple[Role, ...]:
    return (node.role,) if node.role else ()


def _others(seen: ClusterView, node: NodeView) -> list[NodeView]:
    return [other for other in seen.nodes if other.role is node.role and other.name != node.name and other.member]


def _unwell(node: NodeView) -> bool:
    return node.dead or node.verdict is Verdict.DEGRADED


def _has_lasted(node: NodeView, now: datetime, policy: Policy) -> bool:
    """A node that has just joined is not Ready for a while, and nobody has to look at it."""
    since = node.verdict_since
    return _unwell(node) and (since is None or (now - since).total_seconds() > policy.join_deadline_s)
