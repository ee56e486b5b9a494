"""Tell a few broken machines from a broken network or cloud: repair stops where too many are lost at once. Pure.

Replacing what is only out of sight costs a healthy cluster its nodes, so more than a share of a set waits for a person.
What a person has seen (a retry after the trouble began) is let through.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node


def is_too_many(lost: int, of: int, limits: Limits) -> bool:
    """Whether `lost` nodes of so many are more than may be replaced at once; one always may."""
    return lost > max(1, int(limits.repair_share * of))


def unreachable_sentence(node_set: str, limits: Limits) -> str:
    """Why unreachable nodes of a set are not replaced. Without counts, so that it is told once."""
    return f"more than {limits.repair_share:.0%} of {node_set} are unreachable at once: {_WHAT_TO_DO}"


def vanished_too_many(nodes: Iterable[Node], missing: Iterable[Node], limits: Limits) -> Mapping[str, str]:
    """The missing nodes that must not be given up yet, by name, each with the reason."""
    lost = list(missing)
    if not lost:
        return {}
    kept = [node for node in nodes if node.state not in GONE and node.ready_at]
    sets, lost_of = Counter(node.node_set for node in kept), Counter(node.node_set for node in lost)
    if is_too_many(len(lost), len(kept), limits):
        return {node.name: _vanished_sentence("the cluster's machines", limits) for node in lost}
    return {
        node.name: _vanished_sentence(f"the machines of {node.node_set}", limits)
        for node in lost
        if is_too_many(lost_of[node.node_set], sets[node.node_set], limits)
    }


_WHAT_TO_DO = "someone has to look; a retry replaces them"


def _vanished_sentence(what: str, limits: Limits) -> str:
    return f"the cloud stopped listing more than {limits.repair_share:.0%} of {what} at once: {_WHAT_TO_DO}"
