"""Kubernetes versions: one that is offered, never a lower one, one minor version at a time.

The rules are kubeadm's: https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/
"""

import difflib
from collections.abc import Iterator

from caravan_api.admission.surroundings import Current, Surroundings
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec, minor_of


def version_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """What is wrong with the version asked for. Staying on one that is no longer offered is fine."""
    if around.current and spec.version == around.current.spec.version:
        return
    if spec.version not in around.versions:
        near = difflib.get_close_matches(spec.version, around.versions, n=3, cutoff=0.5) or list(around.versions[:3])
        yield _problem(f"{spec.version} is not offered", f"use one of {', '.join(near)}; GET /v1/versions lists all")
    if around.current:
        yield from _skips(spec.version, around.current)


def _skips(version: str, current: Current) -> Iterator[FieldProblem]:
    running = current.running_version or current.spec.version
    if _numbers(version) < _numbers(current.spec.version):
        yield _problem(
            f"{version} is lower than {current.spec.version}, and Kubernetes cannot go back",
            f"stay on {current.spec.version} or use a higher version",
        )
        return
    major, minor = minor_of(running)
    if minor_of(version) > (major, minor + 1):
        yield _problem(
            f"going from {running} to {version} skips a minor version",
            f"go to a {major}.{minor + 1} version first",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _problem(problem: str, remedy: str) -> FieldProblem:
    return FieldProblem(field="spec.version", problem=problem, remedy=remedy)
