"""Where in a spec a node set stands, so that a problem of it is told of the field that a person wrote."""

from collections.abc import Iterator

from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role


def sets_by_field(spec: ClusterSpec) -> Iterator[tuple[str, NodeSet]]:
    """Every node set with its place, such as `spec.control_plane` or `spec.workers.0`."""
    positions = {workers.name: index for index, workers in enumerate(spec.workers)}
    for node_set in spec.node_sets():
        is_worker = node_set.role is Role.WORKER
        part = f"workers.{positions[node_set.name]}" if is_worker else node_set.name.replace("-", "_")
        yield f"spec.{part}", node_set
