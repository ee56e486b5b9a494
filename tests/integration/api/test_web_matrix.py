"""Every route of the web door against every session that must not open it: none leaks, and nothing changes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from caravan_api.access import Role
from caravan_shared.plumbing.database import Database
from tests.integration.api.browsers import browser
from tests.integration.api.conftest import Stack
from tests.integration.api.foreign import WEB_FOREIGN, Foreign
from tests.integration.api.routes import WEB_ROUTES
from tests.integration.api.victims import VICTIM, Victim, beginning, changes, one_victim
from tests.support.runs import ran

pytestmark = pytest.mark.usefixtures("dns", "runs")  # which takes back what former members hold

LEADS_ELSEWHERE = {"/settings"}
"""It shows nothing itself: the tab that it leads to says who may see it."""


@pytest.fixture(scope="module")
async def victim(stack: Stack) -> AsyncIterator[Victim]:
    """Somebody to get at; once for all tests, each of which sees that nothing was changed."""
    async with one_victim(stack) as one:
        yield one


@pytest.mark.parametrize("foreign", WEB_FOREIGN, ids=lambda foreign: foreign.name)
async def test_no_page_opens_to_a_session_that_is_not_the_teams(stack: Stack, victim: Victim, foreign: Foreign) -> None:
    assert foreign.routes
    async with foreign.opening(stack) as client:
        before = await changes(stack)
        for route in foreign.routes:
            await foreign.tries(client, route, victim)
    assert await changes(stack) == before


async def test_every_page_opens_to_those_it_is_for(stack: Stack, victim: Victim, runs: Database) -> None:
    """Else the refusals above would prove nothing."""
    run = await ran(runs, victim.places["cluster"], "printed")
    shown = replace(victim, places={**victim.places, "run_id": str(run)})
    token = await stack.token(f"owner-of-{VICTIM}", VICTIM, role=Role.OWNER)
    async with browser(stack, token) as owner:
        for route in WEB_ROUTES:
            if route.method == "GET" and Role.OWNER.includes(route.needs):
                request = owner.build_request("GET", route.filled(**shown.places), params=route.query)
                answer = await beginning(owner, request)
                assert answer.status_code == (303 if route.path in LEADS_ELSEWHERE else 200), (route, answer.text)
