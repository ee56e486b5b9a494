"""What a cluster needs although nobody asks for it: new certificates in time, and backups of its etcd. Pure.

Simulated machines keep neither certificates nor data, so this is about machines that are reached over SSH.
"""

import math
from datetime import datetime

from caravan_bootstrapper.managers import by_preference
from caravan_bootstrapper.steps import Policy
from caravan_bootstrapper.troubles import wait_left
from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState

CERTIFICATE_DAYS = 365
"""How long what kubeadm signs holds (certificateValidityPeriod of its configuration, v1beta4)."""


def renew_below_days(renew_after_days: float) -> int:
    """The days that certificates of that age have left, rounded up: a run renews what has fewer."""
    return math.ceil(CERTIFICATE_DAYS - renew_after_days)


def to_renew(seen: ClusterView, now: datetime, policy: Policy) -> NodeView | None:
    """The node whose certificates are the oldest, once they are old; workers' kubelets renew theirs themselves."""
    aged = [(made, node) for node in _core(seen) if (made := node.renewed_at or node.ready_at) and not node.dead]
    old = [
        (made, node.name, node)
        for made, node in aged
        if (now - made).total_seconds() > policy.renew_after_s and not wait_left(node, now)
    ]
    return min(old, default=(None, None, None))[2]


def to_back_up(seen: ClusterView, now: datetime, policy: Policy) -> NodeView | None:
    """The control plane that is told to save etcd's content, wherever that is, once a backup is due."""
    last = seen.backed_up_at or seen.set_up_at
    if not policy.backup_every_s or last is None or (now - last).total_seconds() < policy.backup_every_s:
        return None
    control_planes = by_preference(node for node in _core(seen) if node.role is Role.CONTROL_PLANE)
    return next((node for node in control_planes if not node.dead and not wait_left(node, now)), None)


def _core(seen: ClusterView) -> list[NodeView]:
    return [
        node
        for node in seen.live(Role.CONTROL_PLANE, Role.ETCD)
        if node.state is MembershipState.JOINED and node.connection is Connection.SSH
    ]
