"""The one gate: every door sends every request through here, and nothing is stored before it has passed.

`admit` sees the request whole and returns every problem at once, each with its field, what is wrong and what would be
right. Pure: what it must know of the world comes in as `Surroundings`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from caravan_api.admission.changes import change_problems
from caravan_api.admission.clouds import cloud_problems, size_problems, sleep_problems
from caravan_api.admission.members import member_problems
from caravan_api.admission.networks import network_problems
from caravan_api.admission.oidc import oidc_problems
from caravan_api.admission.shape import Reading, read_name, read_spec
from caravan_api.admission.surroundings import Current, Limits, Surroundings
from caravan_api.admission.tuning import tuning_problems
from caravan_api.admission.versions import version_problems
from caravan_api.admission.virtual_ips import virtual_ip_problems, virtual_ip_taken
from caravan_shared.contracts.facts import FieldProblem, WhoCanFix
from caravan_shared.contracts.presets import kept
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.errors import GiveUp

__all__ = [
    "Current",
    "Limits",
    "NotAdmitted",
    "Surroundings",
    "admit",
    "name_taken",
    "sleep_problems",
    "virtual_ip_taken",
]


class NotAdmitted(GiveUp):
    """The request has problems, all of which are listed."""

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        reason = "; ".join(f"{problem.field}: {problem.problem}" for problem in problems)
        super().__init__(reason, who_can_fix=WhoCanFix.USER)
        self.problems = problems


def admit(request: Mapping[str, Any], around: Surroundings) -> ClusterSpec:
    """Return the spec of a request `{"name": …, "spec": …}`, or raise `NotAdmitted` with every problem it has.

    `name` is looked at for a new cluster only (`around.current` is None); it is a string once this has returned.
    The spec of a change names in its `tuning` what the cluster's new size would choose otherwise and cannot any more.
    """
    problems: list[FieldProblem] = []
    if around.current is None:
        problems += name_problems(request.get("name"), around)
    reading = read_spec(request.get("spec"), around)
    problems += reading.problems
    if reading.spec is not None:
        problems += [problem for problem in spec_problems(reading.spec, around) if not _repaired(problem, reading)]
    if problems or reading.spec is None:
        raise NotAdmitted(tuple(problems))
    return kept(reading.spec, around.current.spec) if around.current else reading.spec


def name_problems(name: object, around: Surroundings) -> Iterator[FieldProblem]:
    """A cluster's name is a DNS label and free in its team."""
    yield from read_name(name)
    if isinstance(name, str) and name in around.names_taken:
        yield name_taken(name)


def name_taken(name: str, kind: str = "cluster") -> FieldProblem:
    """The problem of a name that another live thing of its kind has in the team."""
    return FieldProblem(
        field="name",
        problem=f"your team has a {kind} named {name} already",
        remedy=f"choose another name, or delete that {kind} and wait until it is gone",
    )


def spec_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """Everything wrong with a well-formed spec."""
    yield from version_problems(spec, around)
    yield from member_problems(spec)
    yield from network_problems(spec)
    yield from virtual_ip_problems(spec, around)
    yield from oidc_problems(spec)
    yield from cloud_problems(spec, around)
    yield from size_problems(spec, around)
    yield from tuning_problems(spec, around.current.spec if around.current else None)
    if around.current:
        yield from change_problems(spec, around.current.spec)


def _repaired(problem: FieldProblem, reading: Reading) -> bool:
    """True where the value came from our own repair of a malformed field: that field's problem is told already."""
    return any(problem.field == field or problem.field.startswith(f"{field}.") for field in reading.repaired)
