"""Every route of the web door against every session that must not open it: none leaks, and nothing changes.

The routes come from the door's own table, so a new one is in here from its first day.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from caravan_api.access import Role
from caravan_api.store import WebSession
from caravan_shared.plumbing.database import Database
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh
from tests.integration.api.routes import WEB_ROUTES, Route
from tests.integration.api.victims import REFUSED, STRANGERS, VICTIM, Victim, beginning, changes, one_victim, places
from tests.support.runs import ran

pytestmark = pytest.mark.usefixtures("dns", "runs")  # which takes back what former members hold

LEADS_ELSEWHERE = {"/settings"}
"""It shows nothing itself: the tab that it leads to says who may see it."""


@pytest.fixture(scope="module")
async def victim(stack: Stack) -> AsyncIterator[Victim]:
    """Somebody to get at; once for all tests, each of which sees that nothing was changed."""
    async with one_victim(stack) as one:
        yield one


@pytest.mark.parametrize("session", ["none", "junk", "expired"])
async def test_no_page_opens_without_an_open_session(stack: Stack, victim: Victim, session: str) -> None:
    async with browser(stack, await _owner(stack, VICTIM) if session == "expired" else None) as nobody:
        if session == "junk":
            nobody.cookies.set(f"caravan-{stack.service.http_port}", "junk")
        if session == "expired":
            async with stack.service.db.transaction() as tx:
                await tx.exec(update(WebSession).values(expires_at=datetime.now(UTC)))
        before = await changes(stack)
        for route in WEB_ROUTES:
            answer = await _ask(nobody, route, victim, team=None)
            assert answer.status_code == 303, (route, answer.text)
            assert answer.headers["location"].split("?")[0] == "/login", route
    assert await changes(stack) == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.OWNER])
async def test_no_page_opens_to_a_lower_role(stack: Stack, victim: Victim, role: Role) -> None:
    closed = [route for route in WEB_ROUTES if not role.includes(route.needs)]
    assert closed
    token = await stack.token(f"{role}-of-{VICTIM}", VICTIM, role=role)
    async with browser(stack, token) as member:
        before = await changes(stack)
        for route in closed:
            answer = await _ask(member, route, victim, team=None)
            assert (answer.status_code, "Not allowed" in answer.text) == (403, True), (route, answer.text)
    assert await changes(stack) == before


@pytest.mark.parametrize("team", [None, VICTIM])
async def test_no_page_shows_or_changes_what_is_another_teams(stack: Stack, victim: Victim, team: str | None) -> None:
    async with browser(stack, await _owner(stack, STRANGERS)) as stranger:
        before = await changes(stack)
        for route in WEB_ROUTES:
            answer = await _ask(stranger, route, victim, team=team)
            asked = str(answer.request.url)
            shown = {mark for mark in victim.marks if mark in answer.text and mark not in asked}
            assert not shown, (route, answer.text)
            is_about_it = bool(set(victim.places) & places(route) - {"kind"})
            if is_about_it or (team and not route.tags & {"offers", "teams"}):
                assert answer.status_code in REFUSED, (route, answer.text)
    assert await changes(stack) == before


async def test_no_page_opens_to_a_token_that_is_for_other_areas(stack: Stack, victim: Victim) -> None:
    token = await stack.token(fresh("scoped"), VICTIM, role="owner", scopes=["machines"])
    async with browser(stack, token) as limited:
        before = await changes(stack)
        for route in WEB_ROUTES:
            if not route.tags & {"machines", "offers"}:
                answer = await _ask(limited, route, victim, team=None)
                assert (answer.status_code, "machines only" in answer.text) == (403, True), (route, answer.text)
    assert await changes(stack) == before


async def test_every_page_opens_to_those_it_is_for(stack: Stack, victim: Victim, runs: Database) -> None:
    """Else the refusals above would prove nothing."""
    run = await ran(runs, victim.places["cluster"], "printed")
    shown = replace(victim, places={**victim.places, "run_id": str(run)})
    async with browser(stack, await _owner(stack, VICTIM)) as owner:
        for route in WEB_ROUTES:
            if route.method == "GET" and Role.OWNER.includes(route.needs):
                answer = await _ask(owner, route, shown, team=None)
                assert answer.status_code == (303 if route.path in LEADS_ELSEWHERE else 200), (route, answer.text)


async def _owner(stack: Stack, team: str) -> str:
    return await stack.token(f"owner-of-{team}", team, role=Role.OWNER)


async def _ask(client: httpx.AsyncClient, route: Route, victim: Victim, *, team: str | None) -> httpx.Response:
    query: dict[str, Any] = {**route.query, **({"team": team} if team else {})}
    path = route.filled(**victim.places)
    request = client.build_request(route.method, path, data=route.body, params=query, headers=OWN_PAGE)
    return await beginning(client, request)
