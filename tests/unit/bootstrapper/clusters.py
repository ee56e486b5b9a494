"""Builders of clusters and nodes as a decision sees them, for the tests of what is decided."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from caravan_bootstrapper.decide import decide
from caravan_bootstrapper.steps import Policy, Step
from caravan_bootstrapper.views import ClusterView, NodeView
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MembershipState as M

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OFFERED = ("1.34.2", "1.34.1", "1.33.6", "1.33.5", "1.32.9")
POLICY = Policy(offered=OFFERED)
CLUSTER, RUN = UUID(int=1), UUID(int=2)
V = "1.34.2"
SETS = {Role.WORKER: "workers", Role.CONTROL_PLANE: "control-plane", Role.ETCD: "etcd"}


def spec(control_planes: int = 1, workers: int = 2, **more: Any) -> ClusterSpec:
    """What is asked for."""
    sets = [{"name": "workers", "count": workers}] if workers else []
    return ClusterSpec.model_validate(
        {"version": V, "control_plane": {"count": control_planes}, "workers": sets} | more
    )


def node(name: str, role: Role = Role.WORKER, **more: Any) -> NodeView:
    """A node whose machine has been ready for a minute."""
    values: dict[str, Any] = {
        "name": name,
        "node_set": SETS[role],
        "role": role,
        "state": M.WAITING,
        "address": f"10.0.0.{name[-1]}",
        "ready_at": NOW - timedelta(seconds=60),
    }
    return NodeView(**(values | more))


def control_plane(number: int = 1, **more: Any) -> NodeView:
    """A control plane."""
    return node(f"cp-{number}", Role.CONTROL_PLANE, **more)


def etcd(number: int = 1, **more: Any) -> NodeView:
    """A node of an external etcd."""
    return node(f"e-{number}", Role.ETCD, **more)


def joined(one: NodeView, **more: Any) -> NodeView:
    """The node as a member."""
    return replace(one, **({"state": M.JOINED, "version": V} | more))


def over_ssh(one: NodeView, **more: Any) -> NodeView:
    """The node on a real machine."""
    return replace(one, connection=Connection.SSH, **more)


def cluster(*nodes: NodeView, **more: Any) -> ClusterView:
    """A cluster that was asked for."""
    values: dict[str, Any] = {
        "cluster_id": CLUSTER,
        "name": "demo",
        "generation": 1,
        "spec": spec(),
        "nodes": nodes,
        "complete_generation": 1,
    }
    return ClusterView(**(values | more))


def up(*nodes: NodeView, **more: Any) -> ClusterView:
    """A cluster of these nodes whose site.yml has succeeded."""
    started = {"first_node": "cp-1", "set_up_at": NOW - timedelta(seconds=30), "endpoint_addresses": ("10.0.0.1",)}
    return cluster(*nodes, **(started | more))


def running(*nodes: NodeView, **more: Any) -> ClusterView:
    """A cluster whose site.yml has succeeded, with one control plane beside these nodes."""
    return up(joined(control_plane()), *nodes, **more)


def next_step(seen: ClusterView, now: datetime = NOW, policy: Policy = POLICY) -> Step:
    """What is decided."""
    return decide(seen, now, policy)
