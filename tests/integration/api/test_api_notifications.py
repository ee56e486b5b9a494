"""What a team's chat is told by itself: what was asked for, in few messages, at its pace, until they are taken."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from structlog.testing import capture_logs

from caravan_api.access import Role
from caravan_api.notifications.store import Notification, NotificationRule
from caravan_api.pools.keys import pool_key
from caravan_api.pools.store import Lease
from caravan_api.store import Cluster
from caravan_shared.contracts import events as e
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Chats, fresh, ready_facts
from tests.support.eventually import eventually

UNHEALTHY, ENDING, GRANTED = "cluster-unhealthy", "lease-ending", "lease-granted"


async def _team(chats: Chats) -> str:
    """A team of its own: rules catch what is the team's."""
    name = fresh("team")
    assert (await chats.stack.http.post("/v1/teams", json={"name": name})).status_code == 201
    return name


async def _rule(chats: Chats, team: str, *occasions: str, path: str = "", **more: Any) -> str:
    """Have this told at a path of the fake's; the path."""
    where = path or f"/hooks/{fresh()}"
    body = {"product": "slack", "url": f"{chats.fake.url}{where}", "occasions": occasions, **more}
    answer = await chats.stack.http.put(f"/v1/notifications/{fresh('rule')}", json=body, params={"team": team})
    assert answer.status_code == 200, answer.text
    return where


async def _cluster(chats: Chats, team: str, name: str | None = None) -> dict[str, Any]:
    body = {"name": name or fresh(), "spec": ClusterSpec.example}
    made = await chats.stack.http.post("/v1/clusters", json=body, params={"team": team})
    assert made.status_code == 202, made.text
    cluster: dict[str, Any] = made.json()
    return cluster


def _unwell(cluster: dict[str, Any], why: str = "no answer") -> e.HealthChanged:
    about = {"cluster_id": cluster["id"], "verdict": "Unreachable", "reason": why}
    return e.HealthChanged.model_validate({**e.HealthChanged.example, **about})


async def _views(chats: Chats, team: str) -> list[dict[str, Any]]:
    listed = await chats.stack.http.get("/v1/notifications", params={"team": team})
    items: list[dict[str, Any]] = listed.json()["items"]
    return items


async def _hold(chats: Chats, team: str, lasts: timedelta) -> None:
    """As if the team's target had asked to wait so long."""
    until = datetime.now(UTC) + lasts
    async with chats.stack.service.db.transaction() as tx:
        await tx.exec(update(NotificationRule).where(col(NotificationRule.team) == team).values(next_try_at=until))


async def _texts(chats: Chats, path: str, count: int, within: float = 15) -> list[str]:
    await eventually(lambda: len(chats.fake.at(path)) >= count, within=within, saying=f"{count} messages at {path}")
    return [body["text"] for body in chats.fake.at(path)]


async def test_many_of_a_kind_become_one_message(chats: Chats) -> None:
    team = await _team(chats)
    path = await _rule(chats, team, UNHEALTHY)
    clusters = [await _cluster(chats, team, f"{letter}{fresh()[:6]}") for letter in "abcde"]
    await _hold(chats, team, timedelta(hours=1))

    async def are_caught(count: int) -> bool:
        return bool((await _views(chats, team))[0]["pending"] == count)

    for count, cluster in enumerate(clusters, 1):  # one after the other: facts told together are heard in any order
        await chats.stack.tell(_unwell(cluster))
        await eventually(partial(are_caught, count), saying=f"{count} are caught")
    await _hold(chats, team, timedelta(0))
    [text] = await _texts(chats, path, 1)
    assert text == f"5 clusters unhealthy: {', '.join(cluster['name'] for cluster in clusters)}"
    await asyncio.sleep(1)
    assert len(chats.fake.at(path)) == 1
    [view] = await _views(chats, team)
    assert (view["pending"], view["problem"], view["told_at"] is not None) == (0, None, True)


async def test_one_is_told_with_its_reason_and_nobody_is_mentioned(chats: Chats) -> None:
    team = await _team(chats)
    slack = await _rule(chats, team, UNHEALTHY)
    mattermost = await _rule(chats, team, UNHEALTHY, product="mattermost", channel="ops")
    cluster = await _cluster(chats, team)
    await chats.stack.tell(_unwell(cluster, "<!channel> @all [x](http://evil.test)"))
    [text] = await _texts(chats, slack, 1)
    assert text == f"{cluster['name']} is Unreachable: &lt;!channel&gt; @all [x](http://evil.test)"
    await _texts(chats, mattermost, 1)
    [body] = chats.fake.at(mattermost)
    assert body["channel"] == "ops"
    assert "@all" not in body["text"]
    assert "[x]" not in body["text"].replace("\\[", "").replace("\\]", "")


async def test_what_is_said_again_or_of_others_is_not_told(chats: Chats) -> None:
    team, other = await _team(chats), await _team(chats)
    path = await _rule(chats, team, UNHEALTHY)
    filtered = await _rule(chats, team, UNHEALTHY, cluster="another")
    quiet = await _rule(chats, team, ENDING)
    mine, theirs = await _cluster(chats, team), await _cluster(chats, other)
    await chats.stack.tell(*ready_facts(mine), _unwell(mine), _unwell(mine, "still no answer"), _unwell(theirs))
    assert len(await _texts(chats, path, 1)) == 1
    await asyncio.sleep(1)
    assert [len(chats.fake.at(each)) for each in (path, filtered, quiet)] == [1, 0, 0]


async def test_a_failure_and_a_life_that_ends_are_told(chats: Chats) -> None:
    team = await _team(chats)
    failed, expiring = await _rule(chats, team, "cluster-failed"), await _rule(chats, team, "cluster-expiring")
    cluster = await _cluster(chats, team)
    about = {"cluster_id": cluster["id"], "generation": 1, "reason": "kubeadm said no"}
    await chats.stack.tell(e.BootstrapFailed.model_validate({**e.BootstrapFailed.example, **about}))
    assert await _texts(chats, failed, 1) == [f"{cluster['name']} failed: kubeadm said no"]
    await chats.stack.http.put(f"/v1/clusters/{cluster['id']}/lifetime", json={"lifetime_s": 7200})
    async with chats.stack.service.db.transaction() as tx:
        row = await tx.get_one(Cluster, UUID(cluster["id"]))
        assert row.expires_at
        assert row.lifetime_said_at
        row.expires_at, row.lifetime_said_at = (
            at - timedelta(minutes=115) for at in (row.expires_at, row.lifetime_said_at)
        )
        tx.add(row)
    chats.stack.service.wake(cluster["id"])
    [text] = await _texts(chats, expiring, 1)
    assert text.startswith(f"{cluster['name']} is deleted at")


async def test_leases_of_a_pool_are_told_when_they_are_granted_and_before_they_end(chats: Chats) -> None:
    ours = await _rule(chats, "default", GRANTED, ENDING, pool="pool0")
    others = await _rule(chats, "default", GRANTED, ENDING, pool="pool1")
    taken = (await chats.stack.http.post("/v1/pools/pool0/leases", json={})).json()
    granted = (await _texts(chats, ours, 1))[0]
    assert granted.startswith(f"admin got {taken['cluster']} of the pool pool0 until")
    async with chats.stack.service.db.transaction() as tx:
        soon = {
            "granted_at": datetime.now(UTC) - timedelta(hours=1),
            "ends_at": datetime.now(UTC) + timedelta(minutes=2),
            "due_at": datetime.now(UTC),
        }
        await tx.exec(update(Lease).where(col(Lease.id) == UUID(taken["id"])).values(**soon))
        pool_id = (await tx.get_one(Lease, UUID(taken["id"]))).pool_id
    chats.stack.service.wake(pool_key(pool_id))
    assert (await _texts(chats, ours, 2))[1].startswith(f"The lease of {taken['cluster']} by admin ends at")
    assert chats.fake.at(others) == []
    await chats.stack.http.delete(f"/v1/leases/{taken['id']}")
    for view in await _views(chats, "default"):
        await chats.stack.http.delete(f"/v1/notifications/{view['name']}")


async def test_a_target_is_written_to_at_its_pace_however_many_rules_name_it(chats: Chats) -> None:
    team, path = await _team(chats), f"/hooks/{fresh()}"
    for _ in range(4):
        await _rule(chats, team, UNHEALTHY, path=path)
    begun = asyncio.get_running_loop().time()
    await chats.stack.tell(_unwell(await _cluster(chats, team)))
    await _texts(chats, path, 4)
    assert asyncio.get_running_loop().time() - begun >= 1.9, "a burst of two, then one a second"
    assert len(chats.fake.at(path)) == 4


async def test_a_message_that_was_not_taken_comes_again_when_it_was_asked_to(chats: Chats) -> None:
    team = await _team(chats)
    path = await _rule(chats, team, UNHEALTHY)
    tried = len(chats.fake.tries)
    chats.fake.answers.append((429, {"Retry-After": "3"}))
    await chats.stack.tell(_unwell(await _cluster(chats, team)))

    async def problem_is(problem: str | None) -> bool:
        return [view["problem"] for view in await _views(chats, team)] == [problem]

    await eventually(lambda: problem_is("127.0.0.1 answered 429: no_service"))
    assert len(await _texts(chats, path, 1)) == 1
    first, second = chats.fake.tries[tried:]
    assert second - first >= 2.9
    await eventually(lambda: problem_is(None))


@pytest.mark.parametrize("answers", [[(404, {})], [(500, {}), (500, {})]])
async def test_a_rule_whose_messages_nobody_takes_is_stopped_and_says_why(
    chats: Chats, answers: list[tuple[int, dict[str, str]]]
) -> None:
    team = await _team(chats)
    path = await _rule(chats, team, UNHEALTHY)
    chats.fake.answers.extend(answers)
    cluster = await _cluster(chats, team)
    await chats.stack.tell(_unwell(cluster))

    async def stopped() -> dict[str, Any] | None:
        view = (await _views(chats, team))[0]
        return view if view["stopped_at"] else None

    view = await eventually(stopped)
    assert (view["problem"], view["pending"]) == (f"127.0.0.1 answered {answers[-1][0]}: no_service", 0)
    ignored = await _cluster(chats, team)
    await chats.stack.tell(_unwell(ignored))

    async def is_unwell() -> bool:
        health = (await chats.stack.get(ignored))["health"]
        return bool(health and health["verdict"] == "Unreachable")

    await eventually(is_unwell)
    again = {"product": "slack", "url": f"{chats.fake.url}{path}", "occasions": [UNHEALTHY]}
    renewed = await chats.stack.http.put(f"/v1/notifications/{view['name']}", json=again, params={"team": team})
    assert (renewed.json()["stopped_at"], renewed.json()["problem"]) == (None, None)
    other = await _cluster(chats, team)
    await chats.stack.tell(_unwell(other))
    assert await _texts(chats, path, 1) == [f"{other['name']} is Unreachable: no answer"]


async def test_owners_say_what_is_told_and_members_see_it_without_the_url(chats: Chats) -> None:
    team, url = await _team(chats), f"{chats.fake.url}/hooks/canary-webhook"
    body = {"product": "slack", "url": url, "occasions": [UNHEALTHY]}
    with capture_logs() as logs:
        async with chats.stack.speaking_as(Role.DEVELOPER, team) as developer:
            assert (await developer.put("/v1/notifications/ops", json=body)).status_code == 403
        async with chats.stack.speaking_as(Role.OWNER, team) as owner:
            made = await owner.put("/v1/notifications/ops", json=body)
            assert (made.status_code, made.json()["name"]) == (200, "ops")
            again = await owner.put("/v1/notifications/ops", json={**body, "occasions": [ENDING]})
            assert again.json()["occasions"] == [ENDING]
        async with chats.stack.speaking_as(Role.VIEWER, team) as viewer:
            shown = [await viewer.get("/v1/notifications"), await viewer.get("/v1/notifications/ops")]
            assert [answer.status_code for answer in shown] == [200, 200]
            assert (await viewer.delete("/v1/notifications/ops")).status_code == 403
        audit = await chats.stack.http.get("/v1/audit", params={"team": team})
        async with chats.stack.service.db.reading() as session:
            stored = str((await session.exec(select(NotificationRule))).all())
        everything = "".join([made.text, *(answer.text for answer in shown), audit.text, stored, str(logs)])
    assert "canary-webhook" not in everything
    assert {"create", "change"} == {each["action"] for each in audit.json()["items"] if each["kind"] == "notification"}
    async with chats.stack.speaking_as(Role.OWNER, "outsiders") as outsider:
        assert (await outsider.get("/v1/notifications/ops")).status_code == 404
        assert (await outsider.get("/v1/notifications", params={"team": team})).status_code == 403
    removed = await chats.stack.http.delete("/v1/notifications/ops", params={"team": team})
    assert removed.status_code == 204
    assert await _views(chats, team) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "https://evil.test/x"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"occasions": []}, "occasions"),
        ({"occasions": ["full-moon"]}, "occasions.0"),
        ({"product": "irc"}, "product"),
        ({"channel": "a b"}, "channel"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(chats: Chats, change: dict[str, Any], field: str) -> None:
    body = {"product": "slack", "url": f"{chats.fake.url}/x", "occasions": [UNHEALTHY], **change}
    answer = await chats.stack.http.put("/v1/notifications/ops", json=body)
    assert (answer.status_code, [each["field"] for each in answer.json()["problems"]]) == (422, [field])


async def test_a_later_team_of_the_same_name_tells_the_earlier_ones_channel_nothing(chats: Chats) -> None:
    team = await _team(chats)
    await _rule(chats, team, UNHEALTHY)
    assert (await chats.stack.http.delete(f"/v1/teams/{team}")).status_code == 204
    await chats.stack.http.post("/v1/teams", json={"name": team})
    assert await _views(chats, team) == []


async def test_a_url_that_does_not_open_stops_its_rule_and_nothing_else(chats: Chats) -> None:
    team, other = await _team(chats), await _team(chats)
    await _rule(chats, team, UNHEALTHY)
    path = await _rule(chats, other, UNHEALTHY)
    async with chats.stack.service.db.transaction() as tx:
        await tx.exec(update(NotificationRule).where(col(NotificationRule.team) == team).values(url="v1.gone.x.x"))
    await chats.stack.tell(_unwell(await _cluster(chats, team)), _unwell(await _cluster(chats, other)))

    async def stopped() -> bool:
        return "cannot be opened" in ((await _views(chats, team))[0]["problem"] or "")

    await eventually(stopped)
    await _texts(chats, path, 1)


async def test_what_is_rolled_back_is_not_told(chats: Chats) -> None:
    team = await _team(chats)
    await _rule(chats, team, UNHEALTHY)
    cluster = await _cluster(chats, team)
    noted = select(Notification).where(Notification.team == team)

    async def fail() -> None:
        async with chats.stack.service.db.transaction() as tx:
            row = await tx.get_one(Cluster, UUID(cluster["id"]))
            row.verdict, row.facts = "Unreachable", {**row.facts, "health": {"reason": "no answer"}}
            tx.add(row)
            await tx.flush()
            assert (await tx.exec(noted)).all(), "it is caught in the same transaction"
            raise RuntimeError("it fails after all")

    with pytest.raises(RuntimeError, match="after all"):
        await fail()
    async with chats.stack.service.db.reading() as session:
        assert not (await session.exec(noted)).all()
