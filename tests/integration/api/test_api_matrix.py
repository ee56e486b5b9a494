"""Every route against every credential that must not open it: none leaks, and nothing changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlmodel import func, select

from caravan_api.access import Role
from caravan_api.audit.store import AuditEntry
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import ADMIN, Chats, Stack, fresh
from tests.integration.api.foreign import FOREIGN, Foreign
from tests.integration.api.routes import SIGNED
from tests.integration.api.victims import Victim, changes, one_victim
from tests.support import chat

pytestmark = pytest.mark.usefixtures("dns", "runs")  # which takes back what former members hold


@pytest.fixture(scope="module")
async def victim(stack: Stack) -> AsyncIterator[Victim]:
    """Somebody to get at; once for all tests, each of which sees that nothing was changed."""
    async with one_victim(stack) as one:
        yield one


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.name)
async def test_no_route_opens_to_a_credential_that_is_not_the_teams(
    stack: Stack, victim: Victim, foreign: Foreign
) -> None:
    assert foreign.routes
    async with foreign.opening(stack) as client:
        before = await changes(stack)
        for route in foreign.routes:
            await foreign.tries(client, route, victim)
    assert await changes(stack) == before


@pytest.mark.parametrize("integration", ["acme", "mm", "unknown"])
@pytest.mark.parametrize("token", [None, "caravan_junk", ADMIN])
async def test_no_signed_route_opens_without_its_signature(chats: Chats, integration: str, token: str | None) -> None:
    assert SIGNED
    before = await _all_changes(chats.stack)
    async with chats.stack.client(token) as nobody:
        for path in SIGNED:
            filled = path.format(integration=integration)
            for request in (chat.slack_command("list"), chat.mattermost_command("list"), chat.slack_press("list", "x")):
                unsigned = request.but(X_Slack_Signature=None, Authorization=None)
                answer = await nobody.post(
                    filled, content=unsigned.body, headers=unsigned.headers, params={"debug": "1"}
                )
                assert (answer.status_code, answer.json()["detail"]) == (401, "this is for signed requests"), path
                assert answer.json()["problems"] == []
    assert await _all_changes(chats.stack) == before


async def _all_changes(stack: Stack) -> int:
    async with stack.service.db.reading() as session:
        return (await session.exec(select(func.count()).select_from(AuditEntry))).one()


async def test_teams_that_ask_at_the_same_time_are_each_told_of_their_own_cluster_alone(stack: Stack) -> None:
    """The store is asked once for all of them: see `Seeing`."""
    name, teams = fresh(), [fresh() for _ in range(4)]
    async with AsyncExitStack() as clients:
        members = [await clients.enter_async_context(stack.speaking_as(Role.DEVELOPER, team)) for team in teams]
        body = {"name": name, "spec": ClusterSpec.example}
        ids = [(await member.post("/v1/clusters", json=body)).json()["id"] for member in members]
        by_name = await asyncio.gather(*(member.get(f"/v1/clusters/{name}") for member in members * 8))
        assert [answer.json()["id"] for answer in by_name] == ids * 8
        by_id = [(member, own, ref) for member, own in zip(members, ids, strict=True) for ref in ids] * 4
        answers = await asyncio.gather(*(member.get(f"/v1/clusters/{ref}") for member, _, ref in by_id))
        assert [answer.status_code for answer in answers] == [200 if own == ref else 404 for _, own, ref in by_id]
        admins = await asyncio.gather(*(stack.http.get(f"/v1/clusters/{ref}") for ref in ids))
        assert [answer.json()["id"] for answer in admins] == ids
        assert (await stack.http.get(f"/v1/clusters/{name}")).status_code == 404, "an admin's own team has none"
