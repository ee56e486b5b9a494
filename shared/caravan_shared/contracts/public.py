"""What teams and Caravan say to each other over NATS: requests in, progress out. `docs/asyncapi.yaml` is drawn from it.

A team publishes and subscribes in a NATS account of its own, which the server joins to ours: what it publishes as
`cluster.requested` arrives as `intake.<team>.cluster.requested`, and it hears `progress.<team>.>` and nothing else.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from caravan_shared.contracts.events import EVENTS
from caravan_shared.contracts.facts import PROGRESS, Event, ProgressEvent
from caravan_shared.contracts.spec import ClusterName, ClusterSpec

ASKS = "cluster.requested"
"""The subject that a team publishes its requests on, in its own account."""
INTAKE = "intake"
"""What teams ask for arrives on subjects that begin with it."""

LONGEST_ID = 128

RequestId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID)]


class ClusterWanted(Event):
    """A team asks for a cluster. Answered by `cluster.accepted` or `cluster.rejected` with the same `request_id`."""

    subject: ClassVar[str] = f"{INTAKE}.{{team}}.{ASKS}"
    example: ClassVar[dict[str, Any]] = {"request_id": "build-4711", "name": "demo", "spec": ClusterSpec.example}
    request_id: RequestId = Field(
        description="An id of the team's own, printable: the same id twice is one request, however often it is sent."
    )
    name: ClusterName = Field(description="The cluster's name, free in the team.")
    spec: ClusterSpec


TOLD: dict[str, type[ProgressEvent]] = {
    subject: event for subject, event in EVENTS.items() if issubclass(event, ProgressEvent)
}
"""What a team is told, by its subject below `progress.<team>.`."""


def intake_subject(team: str) -> str:
    """Where a team's requests arrive."""
    return ClusterWanted.subject.format(team=team)


def without_team(subject: str) -> str:
    """A subject for counting by: there may be thousands of teams, and each has an intake of its own."""
    first, *rest = subject.split(".")
    return ".".join([INTAKE, *rest[1:]]) if first == INTAKE else subject


def progress_subjects(team: str) -> str:
    """All that a team is told."""
    return f"{PROGRESS}.{team}.>"
