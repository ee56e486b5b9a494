"""The web door over HTTP: sessions, pages, what it refuses, the stream that keeps pages up to date."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col, select

from caravan_api.audit.store import AuditEntry
from caravan_api.doors.web import headers
from caravan_api.store import Token, WebSession
from caravan_shared.contracts.events import MachinesChanged
from caravan_shared.plumbing.streams import DEAD
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import ADMIN, Stack, fresh


async def test_a_page_shows_what_there_is_and_lets_no_script_in(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    async with browser(stack) as admin:
        overview = await admin.get("/")
        listed = await admin.get("/clusters", params={"q": cluster["name"]})
    assert overview.status_code == listed.status_code == 200
    assert cluster["name"] in overview.text
    assert re.findall(r'<tr id="c-([0-9a-f-]+)"', listed.text) == [cluster["id"]]
    for answer in (overview, listed):
        assert answer.headers["content-security-policy"] == headers.POLICY
        assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in headers.POLICY


async def test_a_list_is_narrowed_and_goes_on(stack: Stack) -> None:
    prefix = fresh("l")[:6]
    names = [f"{prefix}-{letter}" for letter in "abc"]
    for name in names:
        answer = await stack.http.post("/v1/clusters", json={"name": name, "spec": {"version": "1.34.2"}})
        assert answer.status_code == 202, answer.text
    async with browser(stack) as admin:
        first = await admin.get("/clusters", params={"q": prefix.upper(), "sort": "name", "limit": 2, "phase": ""})
        none = await admin.get("/clusters", params={"q": prefix, "health": "Unreachable"})
        odd = await admin.get("/clusters", params={"q": "%_'\x01"})
    assert re.findall(rf">({prefix}-\w)<", first.text) == names[:2]
    assert "Show more" in first.text
    assert "No cluster is like that" in none.text
    assert odd.status_code == 200


async def test_who_is_not_logged_in_is_asked_to_and_sent_back(stack: Stack) -> None:
    async with browser(stack, None) as stranger:
        answer = await stranger.get("/clusters?q=x")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fclusters%3Fq%3Dx")
        fragment = await stranger.get("/clusters", headers={"HX-Request": "true"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/login")
        stream = await stranger.get("/live")
        assert stream.status_code == 303
        bearer = await stranger.get("/clusters", headers={"Authorization": f"Bearer {ADMIN}"})
        assert bearer.status_code == 303, "scripts have REST"


async def test_a_token_that_opens_nothing_is_no_login(stack: Stack) -> None:
    async with browser(stack, None) as stranger:
        answer = await stranger.post("/login", data={"token": "caravan_junk"}, headers=OWN_PAGE)
        assert (answer.status_code, "opens nothing here" in answer.text) == (401, True)
        assert not stranger.cookies


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example.org"}])
async def test_another_sites_page_changes_nothing(stack: Stack, sent: dict[str, str]) -> None:
    async with browser(stack) as admin:
        for path in ("/login", "/logout"):
            answer = await admin.post(path, data={"token": ADMIN}, headers=sent)
            assert (answer.status_code, "Not allowed" in answer.text) == (403, True)
        assert (await admin.get("/")).status_code == 200, "still logged in"


async def test_a_session_ends_with_the_log_out_its_time_its_token_or_the_membership(stack: Stack) -> None:
    user = fresh("web")
    token = await stack.token(user, role="viewer")
    for end in ("log out", "time", "token"):
        async with browser(stack, token) as member:
            assert (await member.get("/")).status_code == 200
            secret = dict(member.cookies)
            await _end(stack, end, user, member)
            member.cookies.update(secret)
            assert (await member.get("/")).status_code == 303, end


async def _end(stack: Stack, how: str, user: str, member: httpx.AsyncClient) -> None:
    if how == "log out":
        answer = await member.post("/logout", headers=OWN_PAGE)
        assert answer.headers["location"] == "/login?out=true"
        return
    now = datetime.now(UTC)
    async with stack.service.db.transaction() as tx:
        if how == "time":
            await tx.exec(update(WebSession).where(col(WebSession.user) == user).values(expires_at=now))
        else:
            await tx.exec(update(Token).where(col(Token.user) == user).values(revoked_at=now))


async def test_a_session_is_kept_without_its_secret_and_its_cookie_from_scripts(stack: Stack) -> None:
    token = await stack.token(fresh("web"), role="viewer")
    async with stack.client(None) as client:
        answer = await client.post("/login", data={"token": token}, headers=OWN_PAGE)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    async with stack.service.db.reading() as session:
        rows = (await session.exec(select(WebSession))).all()
    secret = cookie.split("=", 1)[1].split(";")[0]
    assert rows
    assert all(secret not in row.model_dump_json() and token not in row.model_dump_json() for row in rows)


async def test_a_team_sees_its_own_alone(stack: Stack) -> None:
    cluster = await stack.create()
    token = await stack.token(fresh("web"), fresh("team"), role="owner")
    async with browser(stack, token) as stranger:
        for path in ("/", "/clusters", "/clusters?team=default"):
            answer = await stranger.get(path)
            assert cluster["name"] not in answer.text
            assert answer.status_code in (200, 403)


async def test_a_token_for_other_areas_opens_no_screen(stack: Stack) -> None:
    token = await stack.token(fresh("web"), role="owner", scopes=["machines"])
    async with browser(stack, token) as limited:
        answer = await limited.get("/clusters")
    assert (answer.status_code, "machines only" in answer.text) == (403, True)


async def test_an_error_says_what_failed_who_can_fix_it_and_whether_a_retry_helps(stack: Stack) -> None:
    async with browser(stack) as admin:
        page = await admin.get("/clusters", params={"sort": "colour"})
        missing = await admin.get("/nowhere")
        message = await admin.get("/nowhere", headers={"HX-Request": "true"})
    assert page.status_code == 422
    for told in ("sort", "Who can fix it", "Does a retry help?", page.headers["x-trace-id"]):
        assert told in page.text
    assert (missing.status_code, "Not Found" in missing.text) == (404, True)
    assert message.headers["hx-reswap"] == "none"
    assert "caravan:problem" in message.headers["hx-trigger"]


async def test_the_stream_names_what_has_changed_and_goes_on_where_it_was_cut(stack: Stack) -> None:
    async with browser(stack) as admin:
        async with admin.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            heard = await _id_of(lines, "open")
            cluster = await stack.create()
            await _until_told(lines, f"cluster:{cluster['id']}")
        async with admin.stream("GET", "/live", headers={"Last-Event-ID": heard}) as resumed:
            await _until_told(resumed.aiter_lines(), f"cluster:{cluster['id']}")


async def test_a_new_page_hears_of_what_changed_while_it_was_drawn(stack: Stack) -> None:
    async with browser(stack) as admin:
        cluster = await stack.create()
        async with admin.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            await _id_of(lines, "open")
            await _until_told(lines, f"cluster:{cluster['id']}")
        await stack.tell(MachinesChanged.model_validate(MachinesChanged.example))
        async with admin.stream("GET", "/live") as again:
            await _until_told(again.aiter_lines(), "machines")


async def test_admins_hear_at_once_of_dead_letters_and_of_machines_whose_state_changed(stack: Stack) -> None:
    told = {
        "machines": lambda: stack.tell(MachinesChanged.model_validate(MachinesChanged.example)),
        "dead-letters": lambda: stack.service.bus.publish("dead.health.x", b"{}", {"Nats-Msg-Id": str(uuid4())}),
    }
    owner = await stack.token(fresh("web"), role="owner")
    async with browser(stack) as admin, browser(stack, owner) as other:
        for topic, tell in told.items():
            async with admin.stream("GET", "/live") as seen, other.stream("GET", "/live") as unseen:
                lines, others = seen.aiter_lines(), unseen.aiter_lines()
                for each in (lines, others):
                    await _id_of(each, "open")
                await tell()
                await _until_told(lines, topic)
                cluster = await stack.create()
                while f"cluster:{cluster['id']}" not in (topics := await _topics(others)):
                    assert topic not in topics
                assert topic not in topics
    await stack.service.bus.js.purge_stream(DEAD, subject="dead.health.x")


async def test_a_stream_ends_with_its_session(stack: Stack) -> None:
    async with browser(stack) as admin, admin.stream("GET", "/live") as stream:
        lines = stream.aiter_lines()
        await _id_of(lines, "open")
        await admin.post("/logout", headers=OWN_PAGE)
        async with asyncio.timeout(30):  # a few heartbeats
            async for _ in lines:
                pass


async def test_logging_in_is_no_change_of_anything_audited(stack: Stack) -> None:
    async with stack.service.db.reading() as session:
        before = len((await session.exec(select(AuditEntry.id))).all())
    async with browser(stack):
        pass
    async with stack.service.db.reading() as session:
        assert len((await session.exec(select(AuditEntry.id))).all()) == before


async def _id_of(lines: AsyncIterator[str], event: str) -> str:
    number = ""
    async for line in lines:
        number = line.removeprefix("id: ") if line.startswith("id: ") else number
        if line == f"event: {event}":
            return number
    raise AssertionError("the stream ended")


async def _until_told(lines: AsyncIterator[str], topic: str) -> None:
    while topic not in await _topics(lines):
        pass


async def _topics(lines: AsyncIterator[str]) -> str:
    async for line in lines:
        if line.startswith("data: ["):
            return line
    raise AssertionError("the stream ended")
