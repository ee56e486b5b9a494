"""Which nodes are brought to which version next: a few at a time, so that every step is short. Pure.

The order is Kubernetes' own: etcd before the control planes, these one by one, then the workers. A kubelet is never
newer than its kube-apiserver, and all nodes complete a minor before any goes to the next.

Sources: https://kubernetes.io/releases/version-skew-policy/,
https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/
"""

from collections.abc import Iterable

from caravan_bootstrapper.steps import Policy, StartRun
from caravan_bootstrapper.views import ClusterView, NodeView, Play
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState
from caravan_shared.contracts.upgrades import hops, version_key


def running(node: NodeView) -> str | None:
    """The version that the node runs as far as we know; None before its kubelet has told one."""
    return max((v for v in (node.version, node.upgraded_to) if v), key=version_key, default=None)


def is_behind(node: NodeView, version: str) -> bool:
    """It has to be brought to the version, or a run that was to do so did not finish."""
    runs = running(node)
    return runs is not None and (node.unfinished is Play.UPGRADE or version_key(runs) < version_key(version))


def is_halfway(seen: ClusterView) -> bool:
    """Some control planes are upgraded and some are not: kubeadm joins neither with the old version nor the new one."""
    control_planes = [node for node in _members(seen) if node.role is Role.CONTROL_PLANE]
    unfinished = any(node.unfinished is Play.UPGRADE for node in control_planes)
    return unfinished or len({running(node) for node in control_planes} - {None}) > 1


def oldest_apiserver(nodes: Iterable[NodeView]) -> str | None:
    """The lowest version of the kube-apiservers that may answer, leaving ones included; None while there is none."""
    answering = [node for node in nodes if node.role is Role.CONTROL_PLANE and node.member and not node.gone]
    return min((v for node in answering if (v := running(node))), key=version_key, default=None)


def join_version(nodes: Iterable[NodeView], wanted: str) -> str:
    """The version that a new node installs: what its cluster runs now, or the wanted one before it runs."""
    return oldest_apiserver(nodes) or wanted


def next_batch(seen: ClusterView, policy: Policy, *roles: Role) -> StartRun | None:
    """The next run of the roll-out on nodes of these roles; None where it is not their turn. Raises GapInVersions."""
    target = _target(seen, policy)
    if target is None:
        return None
    waiting = [node for node in _members(seen) if is_behind(node, target)]
    turn = next((role for role in ORDER if any(node.role is role for node in waiting)), None)
    if turn is None or turn not in roles or (turn is Role.WORKER and not _served_by(seen, target)):
        return None
    # What was begun is finished first; a node that seems dead comes last, so that it holds up no other.
    candidates = sorted(
        (node for node in waiting if node.role is turn),
        key=lambda node: (node.unfinished is not Play.UPGRADE, node.dead, node.name),
    )
    at_a_time = _workers_at_a_time(seen, policy) if turn is Role.WORKER else 1
    return StartRun(
        Play.UPGRADE,
        tuple(candidates[:at_a_time]),
        target,
        upgrade_first=turn is Role.CONTROL_PLANE and not _any_control_plane_at(seen, target),
        note=f"{len(_members(seen)) - len(waiting)} of {len(_members(seen))} nodes upgraded to {target}",
    )


def _workers_at_a_time(seen: ClusterView, policy: Policy) -> int:
    """A share of all: the pods of drained nodes need the others, and a disruption budget waits for those pods."""
    workers = sum(node.role is Role.WORKER for node in _members(seen))
    return min(policy.upgrades_in_flight, max(1, int(workers * policy.upgrades_share)))


ORDER = (Role.ETCD, Role.CONTROL_PLANE, Role.WORKER)


def _members(seen: ClusterView) -> list[NodeView]:
    return [node for node in seen.nodes if node.live and node.state is MembershipState.JOINED]


def _target(seen: ClusterView, policy: Policy) -> str | None:
    """The version of the next hop: from the oldest member on, because a hop ends when all have made it."""
    wanted = seen.spec.version
    late = [runs for node in _members(seen) if is_behind(node, wanted) and (runs := running(node))]
    if not late:
        return None
    return next(iter(hops(min(late, key=version_key), wanted, policy.offered)), wanted)


def _served_by(seen: ClusterView, version: str) -> bool:
    """Every kube-apiserver that a kubelet may talk to is as new as this."""
    oldest = oldest_apiserver(seen.nodes)
    return oldest is not None and version_key(oldest) >= version_key(version)


def _any_control_plane_at(seen: ClusterView, version: str) -> bool:
    return any(node.role is Role.CONTROL_PLANE and not is_behind(node, version) for node in _members(seen))
