"""What can go wrong, and the exit code that tells a script so.

    CliError            1   something failed
    ├── UsageProblem    2   what was typed makes no sense
    ├── NotFound        3   no such cluster, node set, …
    ├── Refused         4   the request breaks a rule or a limit
    ├── Conflict        5   the name is taken, or somebody else changed it meanwhile
    ├── NotAllowed      6   no token, a wrong one, or a role that may not
    ├── Unavailable     7   nobody answers, or the answer was "later"
    └── TimedOut        8   --timeout passed before it was so; the work goes on

Typer itself ends with 2 on wrong usage, and with 130 when interrupted.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

INTERRUPTED = 130


class FieldProblem(BaseModel):
    """One thing wrong with a request: where, what, and what would be right."""

    field: str = ""
    problem: str = ""
    remedy: str = ""


class Problem(BaseModel):
    """An error as the API gives it (application/problem+json, RFC 9457, and who can do what about it)."""

    model_config = ConfigDict(extra="ignore")

    title: str = "The API gave an error"
    status: int = 0
    detail: str = ""
    who_can_fix: str | None = None
    retry_helps: bool | None = None
    problems: tuple[FieldProblem, ...] = ()
    trace_id: str | None = None


class CliError(Exception):
    """The command cannot do what was asked. The text is a whole sentence for a person."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "it failed"

    def __init__(self, message: str, *, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class UsageProblem(CliError):
    """What was typed, or the file that was given, makes no sense."""

    exit_code = 2
    meaning = "wrong usage"


class NotFound(CliError):
    """There is no such thing."""

    exit_code = 3
    meaning = "not found"


class Refused(CliError):
    """The request breaks a rule or a limit."""

    exit_code = 4
    meaning = "refused: the request breaks a rule or a limit"


class Conflict(CliError):
    """The name is taken, or somebody else changed it meanwhile."""

    exit_code = 5
    meaning = "conflict: the name is taken, or it changed meanwhile"


class NotAllowed(CliError):
    """No token, a wrong one, or a role that may not."""

    exit_code = 6
    meaning = "not allowed: no token, a wrong one, or a role that may not"


class Unavailable(CliError):
    """Nobody answers, or the answer was "later"."""

    exit_code = 7
    meaning = "unavailable: try again later"


class TimedOut(CliError):
    """`--timeout` passed before it was so."""

    exit_code = 8
    meaning = "timed out waiting; the work goes on"


EXIT_CODES: dict[int, str] = {
    0: "done",
    **{
        error.exit_code: error.meaning
        for error in (CliError, UsageProblem, NotFound, Refused, Conflict, NotAllowed, Unavailable, TimedOut)
    },
    INTERRUPTED: "interrupted",
}
"""Every exit code and what it means; `caravan --help` ends with it."""

_BY_STATUS: dict[int, type[CliError]] = {
    400: Refused,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Refused,
    422: Refused,
    428: Conflict,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def from_problem(problem: Problem) -> CliError:
    """The error that a problem document stands for."""
    return _BY_STATUS.get(problem.status, CliError)(problem.detail or problem.title, problem=problem)
