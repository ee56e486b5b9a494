"""What a change may not touch: it would mean another cluster, not a change of this one."""

from collections.abc import Iterator

from caravan_api.admission.sets import sets_by_field
from caravan_api.admission.virtual_ips import virtual_ip_fixed
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec, Role


def change_problems(spec: ClusterSpec, current: ClusterSpec) -> Iterator[FieldProblem]:
    """Fields that are fixed once a cluster exists."""
    yield from virtual_ip_fixed(spec, current)
    network = spec.network.model_copy(update={"virtual_ip": current.network.virtual_ip})  # a problem of its own
    asked = spec.model_copy(update={"network": network})
    for field in ("cloud", "topology", "network", "oidc"):
        if getattr(asked, field) != getattr(current, field):
            yield FieldProblem(
                field=f"spec.{field}",
                problem=f"the {field} of a cluster cannot change",
                remedy=f"leave {field} as it is, or create another cluster",
            )
    yield from _of_sets(spec, current)


def _of_sets(spec: ClusterSpec, current: ClusterSpec) -> Iterator[FieldProblem]:
    before = {node_set.name: node_set for node_set in current.node_sets()}
    for field, node_set in sets_by_field(spec):
        old = before.get(node_set.name)
        if old is None:
            continue
        is_worker = node_set.role is Role.WORKER
        if old.machine_type != node_set.machine_type:
            yield FieldProblem(
                field=f"{field}.machine_type",
                problem=f"the nodes of {node_set.name} are {old.machine_type} machines, and a set keeps its machine "
                "type",
                remedy=_leave_it(old.machine_type, is_worker=is_worker),
            )
        if old.cloud != node_set.cloud and spec.cloud == current.cloud:
            yield FieldProblem(
                field=f"{field}.cloud",
                problem=f"the nodes of {node_set.name} are on the cloud {old.cloud}, and a set stays where it is",
                remedy=_leave_it(old.cloud, is_worker=is_worker),
            )


def _leave_it(value: str, *, is_worker: bool) -> str:
    return f"leave it at {value}, or add another worker set" if is_worker else f"leave it at {value}"
