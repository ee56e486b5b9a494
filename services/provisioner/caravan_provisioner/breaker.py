"""Tell a few broken machines from a broken network or cloud: repair stops where too many are lost at once. Pure.

Counted are the nodes of a set, and those of all clusters on a cloud (`fleet`): a fault that takes one node of each of
many small clusters shows in no set.

Replacing what is only out of sight costs a healthy cluster its nodes, so more than a share waits for a person.
What a person has seen (a retry after the trouble began) is let through.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from caravan_provisioner.limits import Limits
from caravan_provisioner.nodes import GONE, Node


def is_too_many(lost: int, of: int, limits: Limits) -> bool:
    """Whether `lost` nodes of so many are more than may be replaced at once; one always may."""
    return lost > max(1, int(limits.repair_share * of))


def unreachable_too_many(silent: Sequence[Node], kept: Sequence[Node], limits: Limits) -> str | None:
    """Why the silent nodes of a set are not repaired. Without counts, so that it is told once."""
    if not is_too_many(len(silent), len(kept), limits):
        return None
    return f"more than {limits.repair_share:.0%} of {kept[0].node_set} are unreachable at once: {_WHAT_TO_DO}"


def storm_sentence(cloud: str, silent: int, of: int, limits: Limits) -> str | None:
    """Why none of the `of` nodes on a cloud is repaired; None where few enough of them are `silent`."""
    if silent <= max(limits.repair_cloud_nodes, int(limits.repair_cloud_share * of)):
        return None
    return (
        f"more than {limits.repair_cloud_share:.0%} of all nodes on cloud {cloud} are unreachable at once: an operator "
        "has to look at it and its network; repair goes on when fewer are, or for this cluster after a retry"
    )


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


_WHAT_TO_DO = "someone has to look; a retry lets repair go on"


def _vanished_sentence(what: str, limits: Limits) -> str:
    return f"the cloud stopped listing more than {limits.repair_share:.0%} of {what} at once: {_WHAT_TO_DO}"
