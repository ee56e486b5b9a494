"""Every error as a page for people, or as a message on the page they are on: what failed, who can fix it, whether a
retry helps. Who is not logged in is asked to, and who did not say which of their teams they mean is shown one.
"""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from caravan_api.admission.shape import describe
from caravan_api.doors.rest.problems import defect_of, plain, trace_of
from caravan_api.doors.web.entrance import TeamUnclear, last_team
from caravan_api.doors.web.page import shown
from caravan_api.errors import Malformed, Problem, Unauthenticated, problem_of
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import CaravanError, Retry


def handle_errors(app: FastAPI) -> None:
    """Have every error of `app` answered so."""
    app.add_exception_handler(Unauthenticated, _log_in_first)
    app.add_exception_handler(TeamUnclear, _choose_team)
    app.add_exception_handler(CaravanError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


def problem_page(request: Request, problem: Problem, retry_after: float | None = None) -> Response:
    """The answer to somebody's request that failed: a message to a page that asked, a page to a browser."""
    told = problem.model_copy(update={"trace_id": trace_of(request)})
    if request.headers.get("hx-request"):
        answer = Response(status_code=told.status, headers={"HX-Reswap": "none", "HX-Trigger": _message(told)})
    else:
        answer = shown(request, "problem.html", told.status, title=told.title, problem=told, whose=whose_turn(told))
    if retry_after is not None:
        answer.headers["Retry-After"] = str(max(round(retry_after), 1))
    return answer


def whose_turn(problem: Problem) -> str:
    """Who can fix it, in a sentence."""
    if problem.who_can_fix is WhoCanFix.OPERATOR:
        return "Those who run Caravan can fix this."
    return "You can fix this."


def _message(problem: Problem) -> str:
    retry = "Trying again later may help." if problem.retry_helps else "Trying the same again does not help."
    text = {"title": problem.title, "text": problem.detail, "advice": f"{whose_turn(problem)} {retry}"}
    return json.dumps({"caravan:problem": text})


async def _log_in_first(request: Request, _error: Exception) -> Response:
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    query = request.url.query
    back_to = request.url.path + (f"?{query}" if query else "")
    return RedirectResponse(f"/login?{urlencode({'next': back_to})}" if back_to != "/" else "/login", 303)


async def _choose_team(request: Request, error: Exception) -> Response:
    assert isinstance(error, TeamUnclear)
    last = last_team(request)
    team = last if last in error.teams else error.teams[0]
    return RedirectResponse(str(request.url.include_query_params(team=team).replace(scheme="", netloc="")), 303)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CaravanError)
    return problem_page(request, problem_of(error), error.after if isinstance(error, Retry) else None)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    named: list[Any] = [{**details, "loc": details["loc"][1:] or details["loc"]} for details in error.errors()]
    return problem_page(request, problem_of(Malformed(list(describe(named)))))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_page(request, plain(HTTPStatus(error.status_code), str(error.detail)))


async def _defect(request: Request, error: Exception) -> Response:
    return problem_page(request, defect_of(request, error))
