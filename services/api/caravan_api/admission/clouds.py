"""The cloud and its machine types exist, and the cluster is of a size that can ever be had."""

import difflib
from collections.abc import Iterable, Iterator

from caravan_api.admission.shape import shown
from caravan_api.admission.surroundings import Surroundings
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec, Topology


def cloud_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """A cloud or machine types that are not offered, with those that are."""
    offer = around.clouds.get(spec.cloud)
    if offer is None:
        yield FieldProblem(
            field="spec.cloud",
            problem=f"there is no cloud {shown(spec.cloud)}",
            remedy=f"use one of {_near(spec.cloud, around.clouds)}",
        )
        return
    offered = [machine_type.name for machine_type in offer.machine_types]
    for field, machine_type in _machine_types(spec):
        if machine_type not in offered:
            yield FieldProblem(
                field=field,
                problem=f"the cloud {spec.cloud} has no machine type {shown(machine_type)}",
                remedy=f"use one of {_near(machine_type, offered)}",
            )


def size_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """More nodes than a cluster, the team or the cloud can ever have. What the cloud has free just now is `plan`'s."""
    nodes, limits = spec.node_count(), around.limits
    if nodes > limits.max_nodes:
        yield _too_many(f"{nodes} nodes are more than a cluster may have", limits.max_nodes)
    if limits.max_nodes_per_team is not None and around.team_nodes + nodes > limits.max_nodes_per_team:
        yield _too_many(
            f"{nodes} nodes beside the {around.team_nodes} of your other clusters are more than your team may have",
            max(limits.max_nodes_per_team - around.team_nodes, 0),
        )
    offer = around.clouds.get(spec.cloud)
    if offer and offer.quota.machines_limit is not None and nodes > offer.quota.machines_limit:
        yield _too_many(f"{nodes} nodes are more than the cloud {spec.cloud} grants", offer.quota.machines_limit)


def _too_many(problem: str, limit: int) -> FieldProblem:
    return FieldProblem(field="spec", problem=problem, remedy=f"ask for at most {limit} nodes in all sets together")


def _machine_types(spec: ClusterSpec) -> Iterator[tuple[str, str]]:
    yield "spec.control_plane.machine_type", spec.control_plane.machine_type
    if spec.topology is Topology.EXTERNAL and spec.etcd:
        yield "spec.etcd.machine_type", spec.etcd.machine_type
    for index, workers in enumerate(spec.workers):
        yield f"spec.workers.{index}.machine_type", workers.machine_type


def _near(name: str, names: Iterable[str]) -> str:
    everything = sorted(names)
    return ", ".join(difflib.get_close_matches(name, everything, n=3) or everything[:8])
