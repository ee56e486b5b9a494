"""Every credential that is not a team's, or not enough of one: where it is tried, and how it must be refused.

The routes come from the doors' own tables, so a new one is in here from its first day.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from sqlalchemy import update
from sqlmodel import col

from caravan_api.access import Role
from caravan_api.store import Token, WebSession
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh
from tests.integration.api.routes import ROUTES, WEB_ROUTES, Route
from tests.integration.api.victims import REFUSED, STRANGERS, VICTIM, Victim, beginning, places

Opening = Callable[[Stack], AbstractAsyncContextManager[httpx.AsyncClient]]
Refusal = Callable[[Victim, Route, httpx.Response], None]
"""Asserts that a route was shut."""


@dataclass(frozen=True)
class Foreign:
    """One such credential at one door."""

    name: str
    opening: Opening
    """A client that has it."""
    routes: list[Route]
    """Which must be shut to it."""
    is_refused: Refusal
    team: str | None = None
    """For which it says that it acts; None: it says nothing."""

    async def tries(self, client: httpx.AsyncClient, route: Route, victim: Victim) -> None:
        """Send what fits the route, naming the victim's things, and see it refused."""
        query = {**route.query, **({"team": self.team} if self.team else {})}
        body: dict[str, Any] = (
            {"data": route.body, "headers": OWN_PAGE} if route in WEB_ROUTES else {"json": route.body}
        )
        request = client.build_request(route.method, route.filled(**victim.places), params=query, **body)
        self.is_refused(victim, route, await beginning(client, request))


# --- tokens --------------------------------------------------------------------------------------------------------

Holding = Callable[[Stack], Awaitable[str | None]]


async def _nothing(_stack: Stack) -> None:
    return None


async def _junk(_stack: Stack) -> str:
    return "caravan_junk"


async def _void(stack: Stack, *, column: str) -> str:
    user = fresh("void")
    token = await stack.token(user, VICTIM, role="owner")
    async with stack.service.db.transaction() as tx:
        await tx.exec(update(Token).where(col(Token.user) == user).values({column: datetime.now(UTC)}))
    return token


async def _of_a_former_member(stack: Stack) -> str:
    user = fresh("former")
    token = await stack.token(user, VICTIM, role="owner")
    gone = await stack.http.delete(f"/v1/members/user/{user}", params={"team": VICTIM})
    assert gone.status_code == 204
    return token


async def _of_a_member(stack: Stack, *, role: Role, team: str) -> str:
    return await stack.token(f"{role}-of-{team}", team, role=role)


async def _for_machines_only(stack: Stack) -> str:
    return await stack.token(fresh("scoped"), VICTIM, role="owner", scopes=["machines"])


# --- clients -------------------------------------------------------------------------------------------------------


def _bearing(token: Holding) -> Opening:
    @asynccontextmanager
    async def opening(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
        async with stack.client(await token(stack)) as client:
            yield client

    return opening


def _browsing(token: Holding) -> Opening:
    @asynccontextmanager
    async def opening(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
        async with browser(stack, await token(stack)) as client:
            yield client

    return opening


@asynccontextmanager
async def _with_a_junk_cookie(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(stack, None) as client:
        client.cookies.set(f"caravan-{stack.service.http_port}", "junk")
        yield client


@asynccontextmanager
async def _after_its_session(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    user = fresh("expired")
    async with browser(stack, await stack.token(user, VICTIM, role="owner")) as client:
        async with stack.service.db.transaction() as tx:
            expired = update(WebSession).where(col(WebSession.user) == user).values(expires_at=datetime.now(UTC))
            assert (await tx.exec(expired)).rowcount == 1
        yield client


# --- refusals ------------------------------------------------------------------------------------------------------


def _is_unknown(_victim: Victim, route: Route, answer: httpx.Response) -> None:
    assert answer.status_code == 401, (route, answer.text)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def _is_sent_to_the_login(_victim: Victim, route: Route, answer: httpx.Response) -> None:
    assert answer.status_code == 303, (route, answer.text)
    assert answer.headers["location"].split("?")[0] == "/login", route


def _is_not_allowed(_victim: Victim, route: Route, answer: httpx.Response) -> None:
    assert (answer.status_code, "Not allowed" in answer.text) == (403, True), (route, answer.text)


def _is_for_other_areas(_victim: Victim, route: Route, answer: httpx.Response) -> None:
    assert (answer.status_code, "machines only" in answer.text) == (403, True), (route, answer.text)


def _shows_nothing(victim: Victim, route: Route, answer: httpx.Response, *, team: str | None) -> None:
    asked = str(answer.request.url)
    shown = {mark for mark in victim.marks if mark in answer.text and mark not in asked}
    assert not shown, (route, answer.text)
    is_about_it = bool(set(victim.places) & places(route) - {"kind"})
    if is_about_it or (team and not route.tags & {"offers", "teams"}):
        assert answer.status_code in REFUSED, (route, answer.text)


# --- all together --------------------------------------------------------------------------------------------------


def _weak(routes: list[Route], door: Callable[[Holding], Opening]) -> list[Foreign]:
    """What is valid, but not for this."""
    roles = [
        Foreign(
            f"{role} of the team",
            door(partial(_of_a_member, role=role, team=VICTIM)),
            [route for route in routes if not role.includes(route.needs)],
            _is_not_allowed,
        )
        for role in (Role.VIEWER, Role.DEVELOPER, Role.OWNER)
    ]
    strangers = [
        Foreign(
            f"owner of another team, who says {team or 'nothing'}",
            door(partial(_of_a_member, role=Role.OWNER, team=STRANGERS)),
            routes,
            partial(_shows_nothing, team=team),
            team,
        )
        for team in (None, VICTIM)
    ]
    elsewhere = [route for route in routes if not route.tags & {"machines", "offers"}]
    scoped = Foreign("token for other areas", door(_for_machines_only), elsewhere, _is_for_other_areas)
    return [*roles, *strangers, scoped]


FOREIGN = [
    Foreign("no token", _bearing(_nothing), ROUTES, _is_unknown),
    Foreign("junk", _bearing(_junk), ROUTES, _is_unknown),
    Foreign("revoked token", _bearing(partial(_void, column="revoked_at")), ROUTES, _is_unknown),
    Foreign("expired token", _bearing(partial(_void, column="expires_at")), ROUTES, _is_unknown),
    Foreign("token of a former member", _bearing(_of_a_former_member), ROUTES, _is_unknown),
    *_weak(ROUTES, _bearing),
]
"""At the REST API."""

WEB_FOREIGN = [
    Foreign("no session", _browsing(_nothing), WEB_ROUTES, _is_sent_to_the_login),
    Foreign("junk", _with_a_junk_cookie, WEB_ROUTES, _is_sent_to_the_login),
    Foreign("expired session", _after_its_session, WEB_ROUTES, _is_sent_to_the_login),
    *_weak(WEB_ROUTES, _browsing),
]
"""At the web door."""
