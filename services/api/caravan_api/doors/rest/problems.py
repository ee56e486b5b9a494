"""Every error as problem+json (RFC 9457), with the id that finds the request in the logs."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from caravan_api.admission.shape import describe, shown
from caravan_api.errors import Malformed, Problem, problem_of
from caravan_shared.contracts.facts import FieldProblem, WhoCanFix
from caravan_shared.plumbing.errors import CaravanError, Retry
from caravan_shared.plumbing.log import get_logger

MEDIA_TYPE = "application/problem+json"

log = get_logger(__name__)


def handle_errors(app: FastAPI) -> None:
    """Have every error of `app` answered as a problem."""
    app.add_exception_handler(CaravanError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


def problem_response(problem: Problem, trace_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The response for a problem. ASCII only: a message may quote what is no Unicode text."""
    body = problem.model_copy(update={"trace_id": trace_id}).model_dump(mode="json")
    return Response(json.dumps(body), problem.status, headers, media_type=MEDIA_TYPE)


def refusal(error: CaravanError, trace_id: str) -> Response:
    """The response for an error of ours."""
    headers = {}
    if isinstance(error, Retry):
        headers["Retry-After"] = str(max(round(error.after), 1))
    problem = problem_of(error)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(problem, trace_id, headers)


def trace_of(request: Request) -> str:
    """The request's id."""
    return str(getattr(request.state, "trace_id", ""))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CaravanError)
    return refusal(error, trace_of(request))


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors: list[Any] = list(error.errors())
    if any(details["type"] == "json_invalid" for details in errors):
        problem = plain(HTTPStatus.BAD_REQUEST, "the body is not JSON")
        return problem_response(problem, trace_of(request))
    named: list[Any] = [{**details, "loc": details["loc"][1:] or details["loc"]} for details in errors]
    return refusal(Malformed(list(describe(named))), trace_of(request))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(plain(HTTPStatus(error.status_code), str(error.detail)), trace_of(request), error.headers)


async def _defect(request: Request, error: Exception) -> Response:
    return problem_response(defect_of(request, error), trace_of(request))


def defect_of(request: Request, error: Exception) -> Problem:
    """An error that nobody expected, as its sender is told it; the log is told the rest."""
    log.error("request failed", path=request.url.path, trace_id=trace_of(request), exc_info=error)
    return Problem(
        title="Something is wrong with Caravan",
        status=500,
        detail="the request could not be handled; the api's log says why",
        who_can_fix=WhoCanFix.OPERATOR,
        retry_helps=False,
    )


def plain(status: HTTPStatus, detail: str) -> Problem:
    """What is wrong with a request by HTTP's own rules."""
    return Problem(
        title=status.phrase, status=status, detail=detail, who_can_fix=WhoCanFix.USER, retry_helps=False, problems=[]
    )


def unknown_parameters(names: set[str]) -> Malformed:
    """The error for query parameters that a route does not have."""
    return Malformed(
        [
            FieldProblem(field=shown(name), problem="there is no such query parameter", remedy="leave it out")
            for name in sorted(names)
        ]
    )
