"""Decide what waits for a cluster's maintenance window. Pure.

Upgrades and the renewal of certificates wait; they restart kube-apiservers and move pods. What mends the cluster, what
a person asks for beside upgrades (nodes more, fewer or other ones), and backups do not wait.

an upgrade of the version in `maintenance.at_once`       begins now
control planes of two versions                           go on: no node can join before they are of one
a node whose upgrade began and did not end               goes on
certificates that have less than `URGENT_DAYS` left      are renewed now
otherwise                                                waits
"""

from datetime import datetime

from caravan_bootstrapper import upgrades, upkeep
from caravan_bootstrapper.steps import Policy, SayHeld
from caravan_bootstrapper.views import ClusterView, NodeView, Play
from caravan_shared.contracts.maintenance import opening, wait_s
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.upgrades import GapInVersions

URGENT_DAYS = 30.0
_DAY_S = 86_400.0


def upgrade_wait_s(seen: ClusterView, now: datetime) -> float:
    """Seconds until the next batch of an upgrade may begin; 0: now."""
    maintenance = seen.spec.maintenance
    is_under_way = upgrades.is_halfway(seen) or any(
        node.live and node.unfinished is Play.UPGRADE for node in seen.nodes
    )
    if is_under_way or maintenance.at_once == seen.spec.version:
        return 0.0
    return wait_s(maintenance.windows, now)


def renewal_wait_s(seen: ClusterView, node: NodeView, now: datetime) -> float:
    """Seconds until the node's certificates may be renewed; 0: now."""
    made_at = node.renewed_at or node.ready_at
    if made_at and (now - made_at).total_seconds() > (upkeep.CERTIFICATE_DAYS - URGENT_DAYS) * _DAY_S:
        return 0.0
    return wait_s(seen.spec.maintenance.windows, now)


def is_held(seen: ClusterView, now: datetime, policy: Policy) -> bool:
    """True while something that is due waits for the window."""
    return bool(_held(seen, now, policy))


def untold(seen: ClusterView, now: datetime, policy: Policy) -> SayHeld | None:
    """What waits and until when, or that nothing does any more, where that is not what was said last."""
    reason = _reason(seen, now, policy)
    return None if reason == (seen.told_held or "") else SayHeld(reason)


def _reason(seen: ClusterView, now: datetime, policy: Policy) -> str:
    what = _held(seen, now, policy)
    next_one = opening(seen.spec.maintenance.windows, now)
    return f"{what} waits for the maintenance window: next {next_one}" if what and next_one else ""


def _held(seen: ClusterView, now: datetime, policy: Policy) -> str:
    if _is_to_upgrade(seen, policy) and upgrade_wait_s(seen, now):
        return f"the upgrade to {seen.spec.version}"
    node = upkeep.to_renew(seen, now, policy)
    return "the renewal of certificates" if node and renewal_wait_s(seen, node, now) else ""


def _is_to_upgrade(seen: ClusterView, policy: Policy) -> bool:
    try:
        return upgrades.next_batch(seen, policy, *Role) is not None
    except GapInVersions:
        return False
