"""`/caravan` in Slack and Mattermost: as much as the user behind it may do, once, and no secret in a chat."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from structlog.testing import capture_logs

from caravan_api.audit.store import AuditEntry
from caravan_api.doors.chatops.store import ChatReply, ChatUser, HeardRequest, LinkCode
from caravan_api.pools.keys import pool_key
from caravan_api.pools.store import Lease, Pool, PoolCluster
from tests.integration.api.conftest import Chats, fresh
from tests.support.chat import (
    MATTERMOST_TOKEN,
    SLACK_SECRET,
    Request,
    check_blocks,
    mattermost_command,
    mattermost_press,
    signed_by_slack,
    slack_command,
    slack_press,
)
from tests.support.eventually import eventually

POOL, OTHER_POOL = "pool0", "pool1"


async def _say(chats: Chats, text: str, user: str, **more: Any) -> str:
    """What somebody in Slack is answered, as one text."""
    answer = await chats.post("acme", slack_command(text, user=user, **more))
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    check_blocks(shown["blocks"])
    assert shown["response_type"] == "ephemeral"
    return json.dumps(shown["blocks"], ensure_ascii=False)


async def _leases(chats: Chats, user: str) -> list[Lease]:
    async with chats.stack.service.db.reading() as session:
        statement = select(Lease).where(Lease.holder == user, col(Lease.ended_at).is_(None))
        return list((await session.exec(statement)).all())


def _values(shown: str) -> list[str]:
    """What the buttons of an answer in Slack say."""
    return [
        element["value"] for block in json.loads(shown) if block["type"] == "actions" for element in block["elements"]
    ]


async def test_a_stranger_is_told_how_to_be_known_and_does_nothing(chats: Chats) -> None:
    assert "/caravan link" in await _say(chats, f"lease {POOL}", "USTRANGER")
    assert "/caravan link" in await _say(chats, "list", "USTRANGER")


async def test_help_and_mistakes_are_answered_to_anybody(chats: Chats) -> None:
    assert "/caravan lease POOL" in await _say(chats, "help", "USTRANGER")
    assert "Did you mean `delete`?" in await _say(chats, "delte x", "USTRANGER")


async def test_a_lease_is_taken_made_longer_and_given_back(chats: Chats) -> None:
    user = await chats.link("ULEASE", "developer")
    taken = await _say(chats, f'lease {POOL} 1h --purpose "e2e <of> main"', "ULEASE")
    [lease] = await _leases(chats, user)
    assert (lease.lasts_s, lease.purpose, lease.state) == (3600, "e2e <of> main", "Held")
    assert f"caravan --team default cluster kubeconfig {lease.cluster}" in taken
    assert _values(taken) == [f"extend {lease.id}", f"return {lease.id} --yes"]
    await _say(chats, "extend 30m", "ULEASE")
    [longer] = await _leases(chats, user)
    assert longer.ends_at
    assert lease.ends_at
    assert longer.ends_at - lease.ends_at == timedelta(minutes=30)
    assert f"Give back {lease.cluster}?" in await _say(chats, f"return {POOL}", "ULEASE")
    assert len(await _leases(chats, user)) == 1, "it was asked, not done"
    await _say(chats, f"return {lease.id} --yes", "ULEASE")
    assert await _leases(chats, user) == []


async def test_what_is_done_in_a_chat_is_in_the_audit_with_its_door(chats: Chats) -> None:
    user, name = await chats.link("UAUDIT", "developer"), fresh()
    await _say(chats, f"create {name} --workers 3 --lifetime 8h", "UAUDIT")
    async with chats.stack.service.db.reading() as session:
        entry = (await session.exec(select(AuditEntry).where(AuditEntry.name == name))).one()
    assert (entry.actor, entry.door, entry.team, len(entry.trace_id)) == (user, "chat", "default", 32)
    cluster = (await chats.stack.http.get(f"/v1/clusters/{name}")).json()
    assert (cluster["spec"]["version"], cluster["spec"]["workers"][0]["count"]) == ("1.35.1", 3)
    assert cluster["expires_at"]
    assert name in await _say(chats, "list", "UAUDIT")
    assert "waiting for the first machine" in await _say(chats, f"status {name}", "UAUDIT")
    asked = await _say(chats, f"delete {name}", "UAUDIT")
    assert (await chats.stack.get(cluster))["phase"] != "Deleting"
    assert _values(asked) == [f"delete {cluster['id']} --yes"], "that very cluster, whatever is called so later"
    await _say(chats, _values(asked)[0], "UAUDIT")
    assert (await chats.stack.get(cluster))["phase"] == "Deleting"


async def test_cluster_is_put_to_sleep_once_that_is_confirmed_and_is_woken(chats: Chats) -> None:
    await chats.link("USLEEPY", "developer")
    cluster = await chats.stack.create()
    name = cluster["name"]
    assert "put it to sleep once it is Ready" in await _say(chats, f"hibernate {name} --yes", "USLEEPY")
    await chats.stack.make_ready(cluster)
    assert f"hibernate {cluster['id']} --yes" in _values(await _say(chats, f"status {name}", "USLEEPY"))
    asked = await _say(chats, f"hibernate {name}", "USLEEPY")
    assert not (await chats.stack.get(cluster))["asleep"]
    assert _values(asked) == [f"hibernate {cluster['id']} --yes"], "that very cluster, whatever is called so later"
    assert f"wake {name} starts its machines again" in asked
    assert "is being put to sleep" in await _say(chats, _values(asked)[0], "USLEEPY")
    assert (await chats.stack.get(cluster))["asleep"]
    assert "asleep already" in await _say(chats, f"hibernate {name}", "USLEEPY")
    assert f"wake {cluster['id']}" in _values(await _say(chats, f"status {name}", "USLEEPY"))
    assert "is being woken" in await _say(chats, f"wake {name}", "USLEEPY")
    assert not (await chats.stack.get(cluster))["asleep"]
    assert "is not asleep" in await _say(chats, f"wake {name}", "USLEEPY")


async def test_a_refusal_says_what_is_wrong(chats: Chats) -> None:
    await chats.link("UREFUSED", "developer")
    assert "is not offered" in await _say(chats, f"create {fresh()} --version 9.9.9", "UREFUSED")
    assert "there is no such pool" in await _say(chats, "lease nothing", "UREFUSED")
    assert "lasts_s" in await _say(chats, f"lease {POOL} 1s", "UREFUSED")
    assert "you have no lease" in await _say(chats, "extend", "UREFUSED")


async def test_a_viewer_sees_and_changes_nothing(chats: Chats) -> None:
    user, name = await chats.link("UVIEWER", "viewer"), fresh()
    assert "has" in await _say(chats, "list", "UVIEWER")
    words = ("create", "hibernate", "wake", "delete")
    for text in (*(f"{word} {name}" for word in words), f"lease {POOL}", "extend", "return"):
        assert "this needs the role developer, and yours" in await _say(chats, text, "UVIEWER"), text
    assert (await chats.stack.http.get(f"/v1/clusters/{name}")).status_code == 404
    assert await _leases(chats, user) == []


async def test_what_is_another_teams_does_not_exist(chats: Chats) -> None:
    name = fresh()
    await chats.link("UOWNER", "developer")
    await _say(chats, f"create {name}", "UOWNER")
    cluster = (await chats.stack.http.get(f"/v1/clusters/{name}")).json()
    await chats.link("UOUTSIDER", "owner", team="outsiders")
    for ref in (name, cluster["id"]):
        assert "there is no such cluster" in await _say(chats, f"status {ref}", "UOUTSIDER")
        assert "there is no such cluster" in await _say(chats, f"delete {ref} --yes", "UOUTSIDER")
    assert name not in await _say(chats, "list", "UOUTSIDER")


async def test_a_role_that_changes_changes_what_the_chat_may(chats: Chats) -> None:
    user, member = await chats.link("UCHANGES", "developer"), "/v1/members/user/{}"
    await chats.stack.http.put(member.format(user), json={"role": "viewer"})
    assert "needs the role developer" in await _say(chats, f"lease {POOL}", "UCHANGES")
    await chats.stack.http.delete(member.format(user))
    assert "/caravan link" in await _say(chats, "list", "UCHANGES")
    await chats.stack.http.put(member.format(user), json={"role": "developer"})
    assert "/caravan link" in await _say(chats, "list", "UCHANGES"), "a link older than the membership is void"


# --- who is who ---


async def _code(chats: Chats, user: str) -> str:
    return str(re.findall(r"chat link (\w+)", await _say(chats, "link", user))[0])


async def test_a_code_is_good_once_and_for_ten_minutes(chats: Chats) -> None:
    stack, code = chats.stack, await _code(chats, "UCODE")
    async with stack.client(await stack.token(fresh("u"), role="developer")) as http:
        first = await http.post("/v1/chat-links", json={"code": code.lower()})
        assert (first.status_code, first.json()["chat_name"], first.json()["workspace"]) == (201, "Steve", "T0001")
        assert (await http.post("/v1/chat-links", json={"code": code})).status_code == 404
        late = await _code(chats, "UCODE")
        async with stack.service.db.transaction() as tx:
            await tx.exec(update(LinkCode).values(expires_at=datetime.now(UTC)))
        assert (await http.post("/v1/chat-links", json={"code": late})).status_code == 404
    async with stack.service.db.reading() as session:
        assert code not in str((await session.exec(select(LinkCode))).all())


async def test_a_token_that_may_less_than_its_user_links_nobody(chats: Chats) -> None:
    stack, user = chats.stack, fresh("u")
    await stack.token(user, role="owner")
    limited: list[dict[str, Any]] = [{"role": "viewer"}, {"role": "owner", "scopes": ["teams"]}]
    for wish in limited:
        code = await _code(chats, "ULIMITED")
        async with stack.client(await stack.token(user, **wish)) as http:
            answer = await http.post("/v1/chat-links", json={"code": code})
            assert (answer.status_code, "may do less than you" in answer.json()["detail"]) == (403, True)
    no_member = await stack.http.post("/v1/chat-links", json={"code": await _code(chats, "ULIMITED")})
    assert (no_member.status_code, "no member" in no_member.json()["detail"]) == (409, True)
    assert "/caravan link" in await _say(chats, "list", "ULIMITED")


async def test_links_are_seen_and_removed_by_their_user_alone(chats: Chats) -> None:
    stack, code = chats.stack, await _code(chats, "UMINE")
    async with stack.client(await stack.token(fresh("u"), role="developer")) as mine:
        made = (await mine.post("/v1/chat-links", json={"code": code})).json()
        assert [each["id"] for each in (await mine.get("/v1/chat-links")).json()["items"]] == [made["id"]]
        async with stack.client(await stack.token(fresh("u"), role="owner")) as other:
            assert (await other.get("/v1/chat-links")).json()["items"] == []
            assert (await other.delete(f"/v1/chat-links/{made['id']}")).status_code == 404
        assert (await mine.delete(f"/v1/chat-links/{made['id']}")).status_code == 204
    assert "/caravan link" in await _say(chats, "list", "UMINE")


# --- forgeries and replays ---


async def _answers_at_once(chats: Chats, where: str, request: Request, times: int = 5) -> list[int]:
    answers = await asyncio.gather(*(chats.post(where, request) for _ in range(times)))
    return sorted(answer.status_code for answer in answers)


async def test_a_request_of_slacks_is_heard_once_even_at_once(chats: Chats) -> None:
    user = await chats.link("UREPLAY", "developer")
    request = slack_command(f"lease {POOL}", user="UREPLAY")
    assert await _answers_at_once(chats, "acme", request) == [200, 401, 401, 401, 401]
    [lease] = await _leases(chats, user)
    await _say(chats, f"return {lease.id} --yes", "UREPLAY")


async def test_a_request_that_failed_is_not_heard_again_either(chats: Chats) -> None:
    await chats.link("UFAILED", "viewer")
    request = slack_command(f"lease {OTHER_POOL}", user="UFAILED")
    assert await _answers_at_once(chats, "acme", request, times=2) == [200, 401]


async def test_a_request_of_mattermosts_is_heard_once(chats: Chats) -> None:
    request = mattermost_command("help", trigger="trigger-1")
    assert await _answers_at_once(chats, "mm", request, times=2) == [200, 401]
    assert (await chats.post("mm", mattermost_command("help", trigger="trigger-2"))).status_code == 200


@pytest.mark.parametrize(
    ("where", "request_"),
    [
        ("acme", slack_command("help").but(X_Slack_Signature="v0=" + "0" * 64)),
        ("acme", signed_by_slack(slack_command("help").body, at=1_700_000_000)),
        ("acme", slack_command("help", workspace="T0002")),
        ("acme", mattermost_command("help")),
        ("mm", mattermost_command("help", team="another")),
        ("mm", mattermost_command("help", token="wrongwrongwrongwrong")),
        ("mm", slack_command("help")),
        ("unknown", slack_command("help")),
        ("acme/actions", slack_press("list", "https://hooks.slack.com/x").but(X_Slack_Signature="v0=1")),
        ("mm/actions", mattermost_press({"integration": {"context": {"command": "list"}}})),
    ],
)
async def test_what_is_not_the_products_own_is_told_nothing(chats: Chats, where: str, request_: Request) -> None:
    answer = await chats.post(where, request_)
    assert (answer.status_code, answer.json()["detail"]) == (401, "this is for signed requests")
    assert answer.json()["problems"] == []


async def test_a_body_that_is_too_large_is_not_read(chats: Chats) -> None:
    assert (await chats.post("acme", signed_by_slack(b"text=" + b"a" * 300_000))).status_code == 413


# --- buttons, and what is told later ---


async def test_a_pressed_button_in_slack_is_answered_where_it_was_pressed(chats: Chats) -> None:
    user = await chats.link("UPRESS", "developer")
    shown = await _say(chats, f"lease {POOL}", "UPRESS")
    extend, give_back = _values(shown)
    url = f"{chats.fake.url}/actions/{user}"
    assert (await chats.post("acme/actions", slack_press(extend, url, user="UPRESS"))).json() == {}
    await eventually(lambda: len(chats.fake.at(f"/actions/{user}")) == 1)
    await chats.post("acme/actions", slack_press(give_back, url, user="UPRESS"))
    await eventually(lambda: len(chats.fake.at(f"/actions/{user}")) == 2)
    first, second = chats.fake.at(f"/actions/{user}")
    assert (first["text"], first["replace_original"]) == ("It ends later now.", False)
    assert "is given back" in second["text"]
    assert await _leases(chats, user) == []


async def test_a_button_of_somebody_elses_lease_is_pressed_with_ones_own_role(chats: Chats) -> None:
    user = await chats.link("UHOLDER", "developer")
    give_back = _values(await _say(chats, f"lease {POOL}", "UHOLDER"))[1]
    await chats.link("UWATCHER", "viewer")
    url = f"{chats.fake.url}/actions/{fresh()}"
    await chats.post("acme/actions", slack_press(give_back, url, user="UWATCHER"))
    await eventually(lambda: chats.fake.at(url.removeprefix(chats.fake.url)))
    assert "needs the role developer" in chats.fake.at(url.removeprefix(chats.fake.url))[0]["blocks"][0]["text"]["text"]
    [lease] = await _leases(chats, user)
    await _say(chats, f"return {lease.id} --yes", "UHOLDER")


async def test_buttons_in_mattermost_do_the_same_after_a_second_step(chats: Chats) -> None:
    chat_user, user = "mmuser", fresh("developer")
    shown = (await chats.post("mm", mattermost_command("link", user=chat_user))).json()
    code = re.findall(r"chat link (\w+)", shown["text"])[0]
    async with chats.stack.client(await chats.stack.token(user, role="developer")) as http:
        assert (await http.post("/v1/chat-links", json={"code": code})).status_code == 201
    shown = (await chats.post("mm", mattermost_command(f"lease {POOL}", user=chat_user))).json()
    extend, give_back = shown["attachments"][0]["actions"]
    stolen = await chats.post("mm/actions", mattermost_press(extend, user="another"))
    assert stolen.status_code == 401, "it is for whom it was shown"
    pressed = mattermost_press(extend, user=chat_user)
    assert await _answers_at_once(chats, "mm/actions", pressed, times=2) == [200, 401]
    asked = (await chats.post("mm/actions", mattermost_press(give_back, user=chat_user))).json()
    [lease] = await _leases(chats, user)
    assert f"/caravan return {lease.id} --yes" in asked["ephemeral_text"]
    await chats.post("mm", mattermost_command(f"return {lease.id} --yes", user=chat_user))
    assert await _leases(chats, user) == []


async def _pool(chats: Chats, name: str) -> Pool:
    async with chats.stack.service.db.reading() as session:
        return (await session.exec(select(Pool).where(Pool.name == name))).one()


async def _tested(chats: Chats, pool: Pool, at: datetime) -> None:
    """As if the pool's spares had passed their smoke tests then."""
    async with chats.stack.service.db.transaction() as tx:
        await tx.exec(update(PoolCluster).where(col(PoolCluster.pool_id) == pool.id).values(tested_at=at))
    chats.stack.service.wake(pool_key(pool.id))


async def test_whoever_waits_is_answered_at_once_and_told_when_it_is_their_turn(chats: Chats) -> None:
    user, path = await chats.link("UWAITS", "developer"), f"/commands/{fresh()}"
    pool = await _pool(chats, OTHER_POOL)
    await _tested(chats, pool, datetime(2026, 1, 1, tzinfo=UTC))
    chats.fake.answers.append((503, {}))
    shown = await _say(chats, f"lease {OTHER_POOL}", "UWAITS", reply_url=f"{chats.fake.url}{path}")
    assert "you are number 1 in the queue" in shown
    assert "You are told here" in shown
    assert [lease.state for lease in await _leases(chats, user)] == ["Waiting"]
    await _tested(chats, pool, datetime.now(UTC))
    await eventually(lambda: chats.fake.at(path), saying="told, after a failed try")
    [told] = chats.fake.at(path)
    [lease] = await _leases(chats, user)
    assert told["text"] == "It is your turn."
    assert str(lease.cluster) in json.dumps(told["blocks"])
    await _say(chats, f"return {lease.id} --yes", "UWAITS")


@pytest.mark.parametrize("url", ["https://evil.test/x", "http://127.0.0.1:9/x", "http://169.254.169.254/latest"])
async def test_nothing_is_sent_where_the_operator_did_not_allow_it(chats: Chats, url: str) -> None:
    await chats.link("USSRF", "viewer")
    await chats.post("acme/actions", slack_press("list", url, user="USSRF"))

    async def given_up() -> ChatReply | None:
        async with chats.stack.service.db.reading() as session:
            statement = select(ChatReply).order_by(col(ChatReply.created_at).desc()).limit(1)
            reply = (await session.exec(statement)).one()
        return reply if reply.ended_at else None

    reply = await eventually(given_up)
    assert "nothing is sent to this URL" in (reply.problem or "")
    assert reply.tries == 1
    assert url not in reply.url, "it is sealed"


async def test_no_secret_is_in_any_answer_store_or_log(chats: Chats, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await chats.link("UCANARY", "developer")
    url = f"{chats.fake.url}/actions/canary-url-secret"
    with capture_logs() as logs:
        shown = [await _say(chats, text, "UCANARY") for text in ("help", "list", f"status {POOL}", "link")]
        await chats.post("acme/actions", slack_press("list", url, user="UCANARY"))
        await chats.post("acme/actions", slack_press("list", "https://evil.test/canary-url-secret", user="UCANARY"))
        await eventually(lambda: any("given up" in line["event"] for line in logs))
        await eventually(lambda: chats.fake.at("/actions/canary-url-secret"))
    code = re.findall(r"chat link (\w+)", shown[-1])[0]
    tables = (ChatReply, ChatUser, LinkCode, HeardRequest, AuditEntry)
    async with chats.stack.service.db.reading() as session:
        stored = "".join([str((await session.exec(select(table))).all()) for table in tables])
    kept = stored + str(logs) + caplog.text
    told = "".join(shown) + json.dumps(chats.fake.got)
    for secret in (SLACK_SECRET, MATTERMOST_TOKEN, "Shh_its_a_seekrit", "kind: Config"):
        assert secret not in kept + told
    for secret in ("canary-url-secret", code):
        assert secret not in kept
