"""Every route against every credential that must not open it: none leaks, and nothing changes.

The routes come from the API's own table, so a new one is in here from its first day.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col, func, select

from caravan_api.access import Role
from caravan_api.audit.store import AuditEntry
from caravan_api.store import Token
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import ADMIN, Chats, Stack, fresh
from tests.integration.api.routes import ROUTES, SIGNED, Route
from tests.integration.api.victims import REFUSED, STRANGERS, VICTIM, Victim, beginning, changes, one_victim, places
from tests.support import chat

pytestmark = pytest.mark.usefixtures("dns", "runs")  # which takes back what former members hold


@pytest.fixture(scope="module")
async def victim(stack: Stack) -> AsyncIterator[Victim]:
    """Somebody to get at; once for all tests, each of which sees that nothing was changed."""
    async with one_victim(stack) as one:
        yield one


@pytest.mark.parametrize("credential", ["none", "junk", "revoked", "expired", "of a former member"])
async def test_no_route_opens_without_a_valid_token(stack: Stack, victim: Victim, credential: str) -> None:
    token = await _void_token(stack, credential)
    before = await changes(stack)
    async with stack.client(token) as nobody:
        for route in ROUTES:
            answer = await _ask(nobody, route, victim, team=None)
            assert answer.status_code == 401, (route, answer.text)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await changes(stack) == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.OWNER])
async def test_no_route_opens_to_a_lower_role(stack: Stack, victim: Victim, role: Role) -> None:
    closed = [route for route in ROUTES if not role.includes(route.needs)]
    assert closed
    async with stack.speaking_as(role, VICTIM) as member:
        before = await changes(stack)
        for route in closed:
            answer = await _ask(member, route, victim, team=None)
            assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed"), (route, answer.text)
    assert await changes(stack) == before


@pytest.mark.parametrize("team", [None, VICTIM])
async def test_no_route_shows_or_changes_what_is_another_teams(stack: Stack, victim: Victim, team: str | None) -> None:
    async with stack.speaking_as(Role.OWNER, STRANGERS) as stranger:
        before = await changes(stack)
        for route in ROUTES:
            answer = await _ask(stranger, route, victim, team=team)
            shown = {mark for mark in victim.marks if mark in answer.text and mark not in str(answer.request.url)}
            assert not shown, (route, answer.text)
            if team or set(victim.places) & places(route) - {"kind"}:
                assert answer.status_code in REFUSED or route.tags & {"offers", "teams"}, (route, answer.text)
    assert await changes(stack) == before


async def test_no_route_opens_to_a_token_that_is_for_other_areas(stack: Stack, victim: Victim) -> None:
    token = await stack.token(fresh("scoped"), VICTIM, role="owner", scopes=["machines"])
    before = await changes(stack)
    async with stack.client(token) as limited:
        for route in ROUTES:
            if route.tags & {"machines", "offers"}:
                continue
            answer = await _ask(limited, route, victim, team=None)
            assert (answer.status_code, "machines only" in answer.text) == (403, True), (route, answer.text)
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


async def _void_token(stack: Stack, why: str) -> str | None:
    if why in ("none", "junk"):
        return {"none": None, "junk": "caravan_junk"}[why]
    user = fresh("void")
    token = await stack.token(user, VICTIM, role="owner")
    if why == "of a former member":
        gone = await stack.http.delete(f"/v1/members/user/{user}", params={"team": VICTIM})
        assert gone.status_code == 204
        return token
    column = {"revoked": "revoked_at", "expired": "expires_at"}[why]
    async with stack.service.db.transaction() as tx:
        await tx.exec(update(Token).where(col(Token.user) == user).values({column: datetime.now(UTC)}))
    return token


async def _ask(client: httpx.AsyncClient, route: Route, victim: Victim, *, team: str | None) -> httpx.Response:
    query: dict[str, Any] = {**route.query, **({"team": team} if team else {})}
    request = client.build_request(route.method, route.filled(**victim.places), json=route.body, params=query)
    return await beginning(client, request)


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
