"""Ask for a pool, or change one: a form that is judged while it is filled in. And let one go."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, JSONResponse, Response

from caravan_api.admission import NotAdmitted
from caravan_api.doors.rest import pools as rest
from caravan_api.doors.rest.bodies import ChangePool, CreatePool, merged
from caravan_api.doors.rest.context import team_of
from caravan_api.doors.web.fields import confirmed
from caravan_api.doors.web.page import DeveloperPage, Page
from caravan_api.doors.web.screens.create import offered
from caravan_api.doors.web.screens.pools import wish
from caravan_api.doors.web.screens.pools.wish import PoolWish
from caravan_api.pools.finding import find_pool
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool
from caravan_api.pools.views import pool_etag
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import Cni

router = APIRouter(prefix="/pools", tags=["pools"])

_WHOLE = "whole"
"""Where a problem is told that no field of the form has."""

Add = Annotated[str | None, Query(pattern="^(workers|spell)$")]
Remove = Annotated[str | None, Query(pattern=r"^(workers|spell)\.\d{1,2}$")]


@router.get("/new")
async def new(page: DeveloperPage, add: Add = None, remove: Remove = None) -> HTMLResponse:
    """The form for a new pool, as far as it is filled in."""
    choices = await offered.of(page)
    asked = wish.read(page.request.query_params.multi_items())
    if not asked.template.fields:
        asked = wish.first(choices.versions, choices.clouds)
    asked = _arranged(asked, choices, add, remove)
    return await _form(page, choices, asked, await _judged(page, asked))


@router.post("/new")
async def create(page: DeveloperPage) -> Response:
    """Ask for what the form says; back to it with what is wrong."""
    asked = await _sent(page)
    body = CreatePool(name=asked.name, spec=asked.spec())
    try:
        made = await rest.create(body, page.request, page.caller, page.api, team=page.named_team)
    except NotAdmitted as error:
        return await _form(page, await offered.of(page), asked, error.problems)
    return page.goto(f"/pools/{_id(made)}", f"{asked.name} makes its first clusters.")


@router.get("/{pool}/change")
async def changing(page: DeveloperPage, pool: str, add: Add = None, remove: Remove = None) -> HTMLResponse:
    """The form for another spec of a pool, at first with the one that it has."""
    found = await _own(page, pool)
    choices = await offered.of(page)
    asked = wish.read(page.request.query_params.multi_items())
    if not asked.template.fields:
        asked = wish.of(PoolSpec.model_validate(found.spec))
    asked = _arranged(asked, choices, add, remove)
    return await _form(page, choices, asked, await _judged(page, asked, found), found)


@router.post("/{pool}/change")
async def change(page: DeveloperPage, pool: str, etag: Annotated[str, Query(max_length=100)]) -> Response:
    """Want what the form says, if the pool is still the one that the form was opened for."""
    found, asked = await _own(page, pool), await _sent(page)
    body = ChangePool(spec=asked.patch(found.spec))
    try:
        await rest.change(pool, body, page.request, page.caller, page.api, etag, team=page.named_team)
    except NotAdmitted as error:
        return await _form(page, await offered.of(page), asked, error.problems, found, etag)
    return page.goto(f"/pools/{found.id}", f"{found.name} is changed.")


@router.post("/{pool}/delete")
async def delete(page: DeveloperPage, pool: str, confirm: Annotated[str, Form(max_length=64)]) -> Response:
    """Let it go, once its name was typed."""
    name = confirmed(confirm, (await _own(page, pool)).name)
    await rest.delete(pool, page.request, page.caller, page.api, team=page.named_team)
    return page.done(f"{name} is being deleted.")


async def _own(page: Page, pool: str) -> Pool:
    """A pool that may be changed. Raises `NotFound`, or `Forbidden` for one that is only shared."""
    async with page.api.db.transaction() as tx:
        return await find_pool(tx, page.caller, pool, page.named_team, lock=True)


async def _sent(page: Page) -> PoolWish:
    async with page.request.form() as sent:
        return wish.read([(name, text) for name, text in sent.multi_items() if isinstance(text, str)])


def _arranged(asked: PoolWish, choices: offered.Choices, add: str | None, remove: str | None) -> PoolWish:
    """With a row more or less, and a machine for each part."""
    if add:
        asked = wish.with_row(asked, choices.clouds) if add == "workers" else wish.with_spell(asked)
    if remove:
        kind, number = remove.split(".")
        asked = (wish.without_row if kind == "workers" else wish.without_spell)(asked, int(number))
    return wish.settled(asked, choices.clouds)


async def _judged(page: Page, asked: PoolWish, pool: Pool | None = None) -> tuple[FieldProblem, ...]:
    """What admission would say. That a name is missing is no news to whoever has not come to it."""
    spec: Any = merged(pool.spec, asked.patch(pool.spec)) if pool else asked.spec()
    team = pool.team if pool else team_of(page.caller, page.named_team)
    name = pool.name if pool else asked.name
    async with page.api.db.reading() as session:
        found = await page.api.pools.problems_of(session, team, {"name": name, "spec": spec})
    return tuple(problem for problem in found if name or problem.field != "name")


async def _form(
    page: Page,
    choices: offered.Choices,
    asked: PoolWish,
    problems: Iterable[FieldProblem],
    pool: Pool | None = None,
    etag: str | None = None,
) -> HTMLResponse:
    path = f"/pools/{pool.id}/change" if pool else "/pools/new"
    seen = etag or page.request.query_params.get("etag") or (pool_etag(pool) if pool else None)
    return page.show(
        "pools/form.html",
        title=f"Change {pool.name}" if pool else "New pool",
        wish=asked,
        pool=pool,
        path=path,
        etag=seen,
        versions=choices.version_names,
        clouds=choices.cloud_names,
        machines=choices.machines,
        networks=offered.same(Cni),
        days=lambda chosen: {**({chosen: chosen} if chosen not in wish.DAYS else {}), **wish.DAYS},
        problems=_by_field(problems, asked),
    )


def _by_field(problems: Iterable[FieldProblem], asked: PoolWish) -> Mapping[str, list[FieldProblem]]:
    """Each problem at the form's field that it is about, or at the whole."""
    placed: dict[str, list[FieldProblem]] = {}
    for problem in problems:
        field = wish.field_of(problem.field)
        placed.setdefault(field if field in asked.drawn else _WHOLE, []).append(problem)
    return placed


def _id(made: JSONResponse) -> str:
    return str(json.loads(bytes(made.body))["id"])
