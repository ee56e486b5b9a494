"""The cloud and its machine types exist, and the cluster is of a size that can ever be had."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

from caravan_api.admission.sets import sets_by_field
from caravan_api.admission.shape import shown
from caravan_api.admission.surroundings import Surroundings
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec


def cloud_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """Clouds or machine types that are not offered, with those that are; and clouds that cannot share a cluster."""
    for field, cloud in _clouds(spec):
        if cloud not in around.clouds:
            yield FieldProblem(
                field=field,
                problem=f"there is no cloud {shown(cloud)}",
                remedy=f"use one of {_near(cloud, around.clouds)}",
            )
        elif around.clouds[cloud].simulated != _is_simulated(spec, around):
            yield FieldProblem(
                field=field,
                problem=f"the machines of {cloud} and those of {spec.cloud} cannot share a cluster: some are simulated",
                remedy="use clouds that are all simulated or all real",
            )
    for field, node_set in sets_by_field(spec):
        offer = around.clouds.get(node_set.cloud)
        offered = [machine_type.name for machine_type in offer.machine_types] if offer else []
        if offer and node_set.machine_type not in offered:
            yield FieldProblem(
                field=f"{field}.machine_type",
                problem=f"the cloud {node_set.cloud} has no machine type {shown(node_set.machine_type)}",
                remedy=f"use one of {_near(node_set.machine_type, offered)}" if offered else "it has none just now",
            )


def size_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """More nodes than a cluster, the team or a cloud can ever have. What a cloud has free just now is `plan`'s."""
    nodes, limits = spec.node_count(), around.limits
    if nodes > limits.max_nodes:
        yield _too_many(f"{nodes} nodes are more than a cluster may have", limits.max_nodes)
    if limits.max_nodes_per_team is not None and around.team_nodes + nodes > limits.max_nodes_per_team:
        yield _too_many(
            f"{nodes} nodes beside the {around.team_nodes} of your other clusters are more than your team may have",
            max(limits.max_nodes_per_team - around.team_nodes, 0),
        )
    if around.current is None and limits.max_clusters_per_team is not None:
        yield from _one_more(around.team_clusters, limits.max_clusters_per_team)
    for cloud in spec.clouds():
        on_it = sum(node_set.count for node_set in spec.node_sets() if node_set.cloud == cloud)
        offer = around.clouds.get(cloud)
        if offer and offer.quota.machines_limit is not None and on_it > offer.quota.machines_limit:
            yield _too_many(f"{on_it} nodes are more than the cloud {cloud} grants", offer.quota.machines_limit)


def sleep_problems(spec: ClusterSpec, offers: Mapping[str, CloudOffered], field: str) -> Iterator[FieldProblem]:
    """Clouds of the spec whose machines cannot be stopped, for a request that would have them stopped."""
    for cloud in spec.clouds():
        if cloud in offers and not offers[cloud].stops_machines:
            yield FieldProblem(
                field=field,
                problem=f"the cloud {cloud} cannot stop its machines",
                remedy="delete the cluster instead, or use a cloud that can; `GET /v1/clouds` tells which",
            )


def _one_more(has: int, may_have: int) -> Iterator[FieldProblem]:
    if has >= may_have:
        problem = f"your team has {has} clusters and may have {may_have}"
        yield FieldProblem(field="name", problem=problem, remedy="delete a cluster, or ask an admin for a larger quota")


def _too_many(problem: str, limit: int) -> FieldProblem:
    return FieldProblem(field="spec", problem=problem, remedy=f"ask for at most {limit} nodes in all sets together")


def _clouds(spec: ClusterSpec) -> Iterator[tuple[str, str]]:
    """Every cloud that the spec names, and where."""
    yield "spec.cloud", spec.cloud
    for field, node_set in sets_by_field(spec):
        if node_set.cloud != spec.cloud:
            yield f"{field}.cloud", node_set.cloud


def _is_simulated(spec: ClusterSpec, around: Surroundings) -> bool:
    own = around.clouds.get(spec.cloud)
    first = own or next((around.clouds[cloud] for cloud in spec.clouds() if cloud in around.clouds), None)
    return bool(first and first.simulated)


def _near(name: str, names: Iterable[str]) -> str:
    everything = sorted(names)
    return ", ".join(difflib.get_close_matches(name, everything, n=3) or everything[:8])
