"""Kubernetes versions: one that is offered, never a lower one, and with every minor between on offer.

The rules are kubeadm's: https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/
The bootstrapper takes an upgrade of several minors in as many hops.
"""

import difflib
from collections.abc import Iterator

from caravan_api.admission.surroundings import Current, Surroundings
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.upgrades import GapInVersions, hops, version_key


def version_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """What is wrong with the version asked for. Staying on one that is no longer offered is fine."""
    if around.current and spec.version == around.current.spec.version:
        return
    if spec.version not in around.versions:
        near = difflib.get_close_matches(spec.version, around.versions, n=3, cutoff=0.5) or list(around.versions[:3])
        yield _problem(f"{spec.version} is not offered", f"use one of {', '.join(near)}; GET /v1/versions lists all")
    if around.current:
        yield from _way_problems(spec.version, around.current, around.versions)


def _way_problems(version: str, current: Current, offered: tuple[str, ...]) -> Iterator[FieldProblem]:
    if version_key(version) < version_key(current.spec.version):
        yield _problem(
            f"{version} is lower than {current.spec.version}, and Kubernetes cannot go back",
            f"stay on {current.spec.version} or use a higher version",
        )
        return
    try:
        hops(current.at, version, offered)
    except GapInVersions as gap:
        minor = ".".join(map(str, gap.minor))
        yield _problem(str(gap), f"have a {minor} version offered, or use a version below {minor}")


def _problem(problem: str, remedy: str) -> FieldProblem:
    return FieldProblem(field="spec.version", problem=problem, remedy=remedy)
