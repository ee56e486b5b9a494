"""Every route against every credential that must not open it: none leaks, and nothing changes.

The routes come from the API's own table, so a new one is in here from its first day.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col, func, select
from tests.integration.api.conftest import ADMIN, Chats, Stack, fresh
from tests.integration.api.routes import ROUTES, SIGNED, Route
from tests.support import chat

from caravan_api.access import Role
from caravan_api.audit.store import AuditEntry
from caravan_api.store import Grant, Token
from caravan_shared.contracts.spec import ClusterSpec

pytestmark = pytest.mark.usefixtures("dns")  # which takes back what former members hold

VICTIM, STRANGERS = "victims", "strangers"
_REFUSED = {401, 403, 404, 405}


@dataclass(frozen=True)
class Victim:
    """A team with one thing of each kind."""

    places: dict[str, str]
    """By the name of the path's parameter."""
    marks: frozenset[str]
    """Texts that nobody else may ever read."""


@pytest.fixture
async def victim(stack: Stack) -> AsyncIterator[Victim]:
    """A team with a cluster, a kubeconfig, a pool, a lease in its queue, a member and a token."""
    name, pool, member = fresh("victim"), fresh("pool"), fresh("member")
    await stack.token(member, VICTIM, role="owner")
    about = {"team": VICTIM}
    cluster = (
        await stack.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example}, params=about)
    ).json()
    spec = {"template": ClusterSpec.example, "spares": 0, "max_size": 1}
    made = (await stack.http.post("/v1/pools", json={"name": pool, "spec": spec}, params=about)).json()
    lease = (await stack.http.post(f"/v1/pools/{made['id']}/leases", json={}, params=about)).json()
    token = (await stack.http.post("/v1/tokens", json={"user": member}, params=about)).json()
    grant = uuid4()
    async with stack.service.db.transaction() as tx:
        tx.add(
            Grant(
                grant_id=grant, cluster_id=UUID(cluster["id"]), user=member, role="viewer", issued_at=datetime.now(UTC)
            )
        )
    places = {
        "cluster": cluster["id"],
        "grant_id": str(grant),
        "pool": made["id"],
        "lease": lease["id"],
        "token_id": token["id"],
        "kind": "user",
    }
    yield Victim(places, frozenset({name, pool, member, *places.values()} - {"user"}))
    await stack.http.delete(f"/v1/clusters/{cluster['id']}")
    await stack.http.delete(f"/v1/pools/{made['id']}")


@pytest.mark.parametrize("credential", ["none", "junk", "revoked", "expired", "of a former member"])
async def test_no_route_opens_without_a_valid_token(stack: Stack, victim: Victim, credential: str) -> None:
    token = await _void_token(stack, credential)
    before = await _changes(stack)
    async with stack.client(token) as nobody:
        for route in ROUTES:
            answer = await _ask(nobody, route, victim, team=None)
            assert answer.status_code == 401, (route, answer.text)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await _changes(stack) == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.OWNER])
async def test_no_route_opens_to_a_lower_role(stack: Stack, victim: Victim, role: Role) -> None:
    closed = [route for route in ROUTES if not role.includes(route.needs)]
    assert closed
    async with stack.speaking_as(role, VICTIM) as member:
        before = await _changes(stack)
        for route in closed:
            answer = await _ask(member, route, victim, team=None)
            assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed"), (route, answer.text)
    assert await _changes(stack) == before


@pytest.mark.parametrize("team", [None, VICTIM])
async def test_no_route_shows_or_changes_what_is_another_teams(stack: Stack, victim: Victim, team: str | None) -> None:
    async with stack.speaking_as(Role.OWNER, STRANGERS) as stranger:
        before = await _changes(stack)
        for route in ROUTES:
            answer = await _ask(stranger, route, victim, team=team)
            shown = {mark for mark in victim.marks if mark in answer.text and mark not in str(answer.request.url)}
            assert not shown, (route, answer.text)
            if team or set(victim.places) & _places(route) - {"kind"}:
                assert answer.status_code in _REFUSED or route.tags & {"offers", "teams"}, (route, answer.text)
    assert await _changes(stack) == before


async def test_no_route_opens_to_a_token_that_is_for_other_areas(stack: Stack, victim: Victim) -> None:
    token = await stack.token(fresh("scoped"), VICTIM, role="owner", scopes=["machines"])
    before = await _changes(stack)
    async with stack.client(token) as limited:
        for route in ROUTES:
            if route.tags & {"machines", "offers"}:
                continue
            answer = await _ask(limited, route, victim, team=None)
            assert (answer.status_code, "machines only" in answer.text) == (403, True), (route, answer.text)
    assert await _changes(stack) == before


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
    """What the route answers at once; of a stream, its beginning."""
    query: dict[str, Any] = {**route.query, **({"team": team} if team else {})}
    request = client.build_request(route.method, route.filled(**victim.places), json=route.body, params=query)
    answer = await client.send(request, stream=True)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        first = await anext(answer.aiter_bytes())
        await answer.aclose()
        return httpx.Response(answer.status_code, headers=answer.headers, content=first, request=request)
    await answer.aread()
    return answer


async def _changes(stack: Stack) -> int:
    """How often anything of the team was changed by anybody but Caravan itself, so far."""
    statement = select(func.count()).where(AuditEntry.team == VICTIM, AuditEntry.door != "itself")
    async with stack.service.db.reading() as session:
        return (await session.exec(statement)).one()


async def _all_changes(stack: Stack) -> int:
    async with stack.service.db.reading() as session:
        return (await session.exec(select(func.count()).select_from(AuditEntry))).one()


def _places(route: Route) -> set[str]:
    return {name for name in ("cluster", "grant_id", "pool", "lease", "token_id", "kind") if f"{{{name}" in route.path}
