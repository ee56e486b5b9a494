"""What can go wrong at the REST door, and how it is told: problem+json (RFC 9457) with who can fix it.

CaravanError
└── Refused             carries a status and a title
    ├── Unauthenticated     401
    │   └── Unsigned            of a chat: which part of it is wrong stays with us
    ├── Forbidden           403   (only within the caller's own team)
    ├── NotFound            404   (another team's things are not found either)
    ├── Conflict            409
    │   └── NotYet              it will work later
    ├── Stale               412   If-Match names an older state
    ├── TooLarge            413
    ├── KeyReused           422   an Idempotency-Key with another request
    ├── Malformed           422   with the fields concerned
    └── NoPrecondition      428   a change without If-Match
Besides: NotAdmitted 422, other GiveUp 409, Retry 503 with Retry-After.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from caravan_api.admission import NotAdmitted
from caravan_shared.contracts.facts import FieldProblem, WhoCanFix
from caravan_shared.plumbing.errors import CaravanError, GiveUp, Retry


class Problem(BaseModel):
    """A problem report (RFC 9457) that says whose turn it is."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    who_can_fix: WhoCanFix
    retry_helps: bool = Field(description="True where the same request may well work later.")
    problems: list[FieldProblem] = Field(default_factory=list, description="What is wrong, field by field.")
    trace_id: str = Field("", description="Find this request in the logs by it.")


class Refused(CaravanError):
    """A request was refused with a status of its own."""

    status: ClassVar[int]
    title: ClassVar[str]
    retry_helps: ClassVar[bool] = False
    problems: Sequence[FieldProblem] = ()


class Unauthenticated(Refused):
    """No token, or none that we know."""

    status, title = 401, "Not authenticated"

    def __init__(self) -> None:
        super().__init__("send a valid token: Authorization: Bearer …")


class Unsigned(Unauthenticated):
    """A request that bears no valid signature, or bore it before."""

    def __init__(self) -> None:
        CaravanError.__init__(self, "this is for signed requests")


class Forbidden(Refused):
    """The caller's role does not allow it."""

    status, title = 403, "Not allowed"


class NotFound(Refused):
    """There is no such thing, as far as the caller may know."""

    status, title = 404, "Not found"


class Conflict(Refused):
    """It does not go with the state that things are in."""

    status, title = 409, "Conflict"


class NotYet(Conflict):
    """It will go with the state that things are coming to."""

    retry_helps = True


class TooLarge(Refused):
    """The body is larger than we read."""

    status, title = 413, "Too large"


class Stale(Refused):
    """Somebody changed it since the caller looked."""

    status, title = 412, "Changed meanwhile"


class KeyReused(Refused):
    """The Idempotency-Key came with another request before."""

    status, title = 422, "Idempotency-Key used for another request"


class Malformed(Refused):
    """The request itself is wrong."""

    status, title = 422, "Malformed request"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.problem}" for problem in problems))
        self.problems = problems


class NoPrecondition(Refused):
    """A change must say which state it is meant for."""

    status, title = 428, "If-Match is missing"

    def __init__(self) -> None:
        super().__init__("send If-Match with the etag that you read, so that no one's change is overwritten")


def problem_of(error: CaravanError) -> Problem:
    """An error as the report that the caller gets."""
    if isinstance(error, Refused):
        return _problem(error.status, error.title, error, retry_helps=error.retry_helps, problems=list(error.problems))
    if isinstance(error, NotAdmitted):
        return _problem(422, "Not admitted", error, problems=list(error.problems))
    if isinstance(error, Retry):
        return _problem(503, "Not possible right now", error, WhoCanFix.OPERATOR, retry_helps=True)
    if isinstance(error, GiveUp):
        return _problem(409, "Not possible", error, error.who_can_fix)
    raise error


def _problem(
    status: int,
    title: str,
    error: CaravanError,
    who_can_fix: WhoCanFix = WhoCanFix.USER,
    *,
    retry_helps: bool = False,
    problems: list[FieldProblem] | None = None,
) -> Problem:
    return Problem(
        title=title,
        status=status,
        detail=error.reason,
        who_can_fix=who_can_fix,
        retry_helps=retry_helps,
        problems=problems or [],
    )
