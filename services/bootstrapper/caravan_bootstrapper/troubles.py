"""What a failure that a run told of means: whose hands it is in, and how long one node is left alone after it. Pure.

A removal, a renewal or a backup that fails is one node's trouble: it is tried again slowly and said aloud, and never
stops what the rest of the cluster needs.
"""

import re
from datetime import datetime, timedelta

from caravan_bootstrapper.steps import Policy, Tell
from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.facts import WhoCanFix

FIRST_WAIT_S = 2.0
FIRST_WAIT_WHEN_BLOCKED_S = 60.0  # a blocked drain has cost its whole time limit already
LONGEST_WAIT_S = 600.0
_MOST_DOUBLINGS = 9  # beyond the longest wait already

_BLOCKED = re.compile(r"PodDisruptionBudget|disruption budget|was not drained within")


def is_blocked(sentence: str | None) -> bool:
    """Its pods do not go elsewhere, as a rule because a PodDisruptionBudget holds them."""
    return bool(sentence and _BLOCKED.search(sentence))


def who_can_fix(sentence: str) -> WhoCanFix:
    """Pods, budgets and the spec's drain settings are the user's, machines and playbooks the operator's."""
    return WhoCanFix.USER if is_blocked(sentence) else WhoCanFix.OPERATOR


def wait_left(node: NodeView, now: datetime) -> float:
    """Seconds until a node that failed may be tried again; 0: now."""
    if not node.failures or node.failed_at is None:
        return 0.0
    first = FIRST_WAIT_WHEN_BLOCKED_S if is_blocked(node.failure) else FIRST_WAIT_S
    wait = min(LONGEST_WAIT_S, first * 2 ** min(node.failures - 1, _MOST_DOUBLINGS))
    return max(0.0, (node.failed_at + timedelta(seconds=wait) - now).total_seconds())


def untold(seen: ClusterView, policy: Policy) -> Tell | None:
    """A node's trouble that a person should hear of and has not: a blocked drain at once, others when they last."""
    for node in seen.nodes:
        lasting = is_blocked(node.failure) or node.failures >= policy.max_attempts
        if node.failure and lasting and node.told != node.failure:
            return Tell(node, node.failure, who_can_fix(node.failure))
    return None
