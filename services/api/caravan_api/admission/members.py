"""Node sets: names that differ and are not ours, and member counts that keep a quorum."""

from collections.abc import Iterator

from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET, ClusterSpec, Topology

_RESERVED = (CONTROL_PLANE_SET, ETCD_SET)


def member_problems(spec: ClusterSpec) -> Iterator[FieldProblem]:
    """What is wrong with the counts of voting members and with the names of the worker sets."""
    if spec.topology is Topology.STACKED:
        yield from _even(spec.control_plane.count, "spec.control_plane.count", "a stacked control plane")
        if spec.etcd is not None:
            yield FieldProblem(
                field="spec.etcd",
                problem="a stacked topology has its etcd on the control-plane nodes",
                remedy="leave etcd out, or use topology external",
            )
    elif spec.etcd is not None:
        yield from _even(spec.etcd.count, "spec.etcd.count", "etcd")
    yield from _set_names(spec)


def _even(count: int, field: str, what: str) -> Iterator[FieldProblem]:
    if count % 2 == 0:
        yield FieldProblem(
            field=field,
            problem=f"{count} is even: {what} of {count} survives no more failures than one of {count - 1}",
            remedy=f"use an odd count, such as {count - 1} or {count + 1}",
        )


def _set_names(spec: ClusterSpec) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, workers in enumerate(spec.workers):
        field = f"spec.workers.{index}.name"
        if workers.name in _RESERVED:
            yield FieldProblem(
                field=field,
                problem=f"{workers.name} is the name of a set that Caravan makes itself",
                remedy=f"choose a name other than {' and '.join(_RESERVED)}",
            )
        if workers.name in seen:
            yield FieldProblem(
                field=field,
                problem=f"another worker set is named {workers.name} too",
                remedy="give every worker set a name of its own",
            )
        seen.add(workers.name)
