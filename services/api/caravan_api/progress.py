"""Tell a team over NATS what its cluster's timeline tells: at most one event a line, in a small vocabulary. Pure.

What people asked for themselves, and who was granted access, is told nowhere but in the timeline.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from caravan_api.decide.facts import Facts
from caravan_api.store import Cluster
from caravan_api.timeline import Entry
from caravan_shared.contracts import events as e

Tell = Callable[[Cluster, Entry], e.ClusterProgress | None]


def told(cluster: Cluster, entries: Sequence[Entry]) -> list[e.ClusterProgress]:
    """The events that stand for these lines, told of a cluster whose row holds their outcome."""
    events = [_TELLS[entry.kind](cluster, entry) for entry in entries if entry.kind in _TELLS]
    return [event for event in events if event]


def _phase(cluster: Cluster, entry: Entry) -> e.ClusterPhaseChanged:
    failure = cluster.failure or {}
    return e.ClusterPhaseChanged(
        **_about(cluster, entry), phase=entry.data["phase"], before=entry.data["before"], **failure
    )


def _nodes(cluster: Cluster, entry: Entry) -> e.ClusterNodesChanged:
    counts = {name: sum(node_set[name] for node_set in cluster.node_sets) for name in _COUNTS}
    return e.ClusterNodesChanged(**_about(cluster, entry), **counts)


def _nodes_named(cluster: Cluster, entry: Entry) -> e.ClusterNodesChanged | None:
    """Where the line is about nodes; what else fails is told by the phase that it leads to."""
    return _nodes(cluster, entry) if "node_sets" in entry.data else None


def _health(cluster: Cluster, entry: Entry) -> e.ClusterProgress:
    if "verdict" not in entry.data:
        return _nodes(cluster, entry)
    health = Facts.model_validate(cluster.facts).health
    assert health is not None, "a verdict was folded in before it is told"
    return e.ClusterHealthChanged(
        **_about(cluster, entry), verdict=health.verdict, reason=health.reason, since=health.since
    )


def _endpoint(cluster: Cluster, entry: Entry) -> e.ClusterEndpointIssued | None:
    """Where it is; that it is withdrawn is told by the cluster's end."""
    endpoint = Facts.model_validate(cluster.facts).endpoint
    if "addresses" not in entry.data or endpoint is None:
        return None
    return e.ClusterEndpointIssued(**_about(cluster, entry), **endpoint.model_dump(exclude={"sequence"}))


def _ended(cluster: Cluster, entry: Entry) -> e.ClusterEnded:
    return e.ClusterEnded(**_about(cluster, entry))


_COUNTS = ("wanted", "made", "joined", "ready", "failed")
_TELLS: Mapping[str, Tell] = {
    "phase": _phase,
    "machines": _nodes,
    "joined": _nodes,
    "held": _nodes_named,
    "failure": _nodes_named,
    "health": _health,
    "endpoint": _endpoint,
    "deleted": _ended,
}
"""By an entry's kind."""


def _about(cluster: Cluster, entry: Entry) -> dict[str, Any]:
    return {"cluster_id": cluster.id, "team": cluster.team, "name": cluster.name, "text": entry.text}
