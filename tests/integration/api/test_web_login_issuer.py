"""Logging in to the UI at a real OpenID Connect provider: there, back, and who is let in."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from tests.integration.api.conftest import Stack, running
from tests.support.nats import NatsServer
from tests.support.oidc.browser import walk_to
from tests.support.oidc.provider import Provider

USER = "alice@example.org"


@dataclass
class Place:
    """An api, and the issuer that it sends people to."""

    stack: Stack
    provider: Provider


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, api_nats: NatsServer) -> AsyncIterator[Place]:
    """Both, with a member of a team."""
    provider = Provider(tmp_path_factory.mktemp("oidc"))
    provider.start()
    async with running(tmp_path_factory.mktemp("api"), api_nats, oidc_issuer=provider.issuer) as stack:
        added = await stack.http.put(f"/v1/members/user/{USER}", json={"role": "viewer"})
        assert added.is_success, added.text
        yield Place(stack, provider)
    provider.stop()


async def _asked(browser: httpx.AsyncClient) -> str:
    answer = await browser.get("/login/issuer", params={"next": "/clusters"})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def _answered(place: Place, address: str, user: str = "alice") -> str:
    callback = f"http://127.0.0.1:{place.stack.service.http_port}/login/callback"
    return await asyncio.to_thread(walk_to, callback, address, user)


async def test_a_member_logs_in_at_the_issuer_and_comes_back_to_where_they_were(place: Place) -> None:
    async with place.stack.client(None) as browser:
        back = await browser.get(await _answered(place, await _asked(browser)))
        assert (back.status_code, back.headers["location"]) == (303, "/clusters"), back.text
        page = await browser.get("/clusters")
    assert page.status_code == 200
    assert USER in page.text


async def test_an_answer_opens_nothing_in_another_browser(place: Place) -> None:
    """Else somebody could have others work in a session that is not theirs."""
    async with place.stack.client(None) as browser, place.stack.client(None) as victim:
        answer = await _answered(place, await _asked(browser))
        none_under_way = await victim.get(answer)
        await _asked(victim)
        another_under_way = await victim.get(answer)
    for refused in (none_under_way, another_under_way):
        assert (refused.status_code, "Not logged in" in refused.text) == (401, True)
        assert "caravan-" not in refused.headers.get("set-cookie", "").replace("caravan-login", "")


async def test_an_answer_is_good_once(place: Place) -> None:
    async with place.stack.client(None) as browser:
        kept = await _asked(browser)
        cookies = dict(browser.cookies)
        answer = await _answered(place, kept)
        assert (await browser.get(answer)).status_code == 303
        browser.cookies.clear()
        browser.cookies.update(cookies)
        again = await browser.get(answer)
    assert again.status_code == 503, "the issuer takes no code twice"
    assert "set-cookie" not in again.headers


async def test_somebody_whom_the_issuer_does_not_vouch_for_is_told_so(place: Place) -> None:
    async with place.stack.client(None) as browser:
        refused = await browser.get(await _answered(place, await _asked(browser), "mallory"))
        assert refused.status_code == 401
        assert (await browser.get("/")).status_code == 303
