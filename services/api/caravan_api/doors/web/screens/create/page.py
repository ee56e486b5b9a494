"""Ask for a cluster: a form that plans while it is filled in."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from caravan_api.admission import NotAdmitted
from caravan_api.doors.rest.bodies import AskPlan, CreateCluster
from caravan_api.doors.rest.clusters import create
from caravan_api.doors.rest.context import Word
from caravan_api.doors.rest.plans import make_plan
from caravan_api.doors.web.page import DeveloperPage, Page
from caravan_api.doors.web.screens.create import offered, told, wish
from caravan_api.doors.web.screens.create.wish import Wish
from caravan_api.plan import Plan
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec, Cni
from caravan_shared.contracts.tuning import KubeProxyMode, Tuning

router = APIRouter(prefix="/clusters/new", tags=["clusters"])

_WHOLE = "whole"
"""Where a problem is told that no field of the form has."""


@router.get("")
async def form(
    page: DeveloperPage,
    add: Word = None,
    remove: Annotated[str | None, Query(pattern=r"^workers\.\d{1,2}$")] = None,
) -> HTMLResponse:
    """The form, as far as it is filled in, with what would come of it."""
    choices = await offered.of(page)
    asked = wish.read(page.request.query_params.multi_items())
    if not asked.fields:
        asked = wish.first(choices.versions, choices.clouds)
    if add:
        asked = wish.with_row(asked, choices.clouds)
    if remove:
        asked = wish.without_row(asked, int(remove.removeprefix("workers.")))
    return await _form(page, wish.settled(asked, choices.clouds), choices)


@router.post("")
async def ask(page: DeveloperPage) -> Response:
    """Ask for what the form says; back to it with what is wrong."""
    async with page.request.form() as sent:
        asked = wish.read([(name, text) for name, text in sent.multi_items() if isinstance(text, str)])
    problems = _lifetime_problems(asked)
    if not problems:
        try:
            body = CreateCluster(name=asked.name, spec=asked.spec(), lifetime_s=asked.lifetime_s)
            made = await create(body, page.request, page.caller, page.api, team=page.named_team)
        except NotAdmitted as error:
            problems = error.problems
        else:
            return page.goto(made.headers["Location"].removeprefix("/v1"), f"{asked.name} is being made.")
    return await _form(page, asked, await offered.of(page), problems)


async def _form(
    page: Page,
    asked: Wish,
    choices: offered.Choices,
    problems: tuple[FieldProblem, ...] = (),
) -> HTMLResponse:
    plan, found = await _planned(page, asked)
    spec = _tidy(asked.spec())
    placed = _by_field([*_lifetime_problems(asked), *problems, *found], asked)
    return page.show(
        "create/create.html",
        title="New cluster",
        wish=asked,
        versions=choices.version_names,
        clouds=choices.cloud_names,
        machines=choices.machines,
        networks=offered.same(Cni),
        proxies=offered.same(KubeProxyMode),
        tuned=[(name, label, _hint(name)) for name, label in wish.TUNED.items()],
        plan=plan,
        lasts=timedelta(seconds=plan.estimate_s) if plan else None,
        chosen=plan.tuning.model_dump(mode="json", exclude_none=True) if plan and plan.tuning else {},
        problems=placed,
        is_advanced_wrong=any(field.startswith(("network.", "drain.", "tuning.")) for field in placed),
        yaml=told.as_yaml(asked.name, spec),
        command=told.as_command(asked.name, spec, asked["lifetime_h"].strip()),
    )


async def _planned(page: Page, asked: Wish) -> tuple[Plan | None, tuple[FieldProblem, ...]]:
    """What would come of it, or why nothing would."""
    body = AskPlan(action="create", name=asked.name, spec=asked.spec())
    try:
        return await make_plan(body, page.caller, page.api, page.named_team), ()
    except NotAdmitted as error:
        return None, error.problems


def _lifetime_problems(asked: Wish) -> tuple[FieldProblem, ...]:
    """What keeps its lifetime from being one: REST's own rule for it."""
    try:
        CreateCluster(name="", spec={}, lifetime_s=asked.lifetime_s)
    except (ValueError, OverflowError):
        problem = "it is no number of hours that a cluster may live"
        return (FieldProblem(field="lifetime_h", problem=problem, remedy="give hours, such as 8, or leave it empty"),)
    return ()


def _by_field(problems: list[FieldProblem], asked: Wish) -> dict[str, list[FieldProblem]]:
    """Each problem once, at the form's field that it is about, or at the whole."""
    drawn = {*asked.fields, "name", "lifetime_h", "version", "cloud", "topology"}
    drawn |= {f"network.{each}" for each in ("cni", "pod_cidr", "service_cidr", "dns_domain", "virtual_ip")}
    placed: dict[str, list[FieldProblem]] = {}
    for problem in problems:
        field = problem.field.removeprefix("spec.")
        there = placed.setdefault(field if field in drawn else _WHOLE, [])
        if problem not in there:
            there.append(problem)
    return placed


def _hint(tuned: str) -> str:
    return (Tuning.model_fields[tuned].description or "").replace("`", "")


def _tidy(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with numbers as numbers; as it was typed while it is none."""
    try:
        read = ClusterSpec.model_validate(spec)
    except ValueError:
        return spec
    return read.model_dump(mode="json", exclude_unset=True)
