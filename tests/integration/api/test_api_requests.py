"""What REST promises of any request: safe to repeat, paged, refused clearly, and apart from other teams."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from caravan_api.access import Role
from caravan_api.store import Token
from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh, running
from tests.integration.api.routes import ROUTES
from tests.support.nats import NatsServer

UNKNOWN = "0190f6f0-0000-7000-8000-00000000dead"
"""An id that nothing has; fixed, because it is part of test names."""


async def test_a_repeated_request_with_one_key_is_one_cluster(stack: Stack) -> None:
    body = {"name": fresh(), "spec": ClusterSpec.example}
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(*(stack.http.post("/v1/clusters", json=body, headers=key) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    other = await stack.http.post("/v1/clusters", json={**body, "name": fresh()}, headers=key)
    assert (other.status_code, "Idempotency-Key" in other.json()["title"]) == (422, True)


async def test_a_key_of_a_refused_request_may_be_used_again(stack: Stack) -> None:
    key, name = {"Idempotency-Key": str(uuid4())}, fresh()
    refused = await stack.http.post("/v1/clusters", json={"name": name, "spec": {"version": "0.0.1"}}, headers=key)
    admitted = await stack.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example}, headers=key)
    assert (refused.status_code, admitted.status_code) == (422, 202)


async def test_a_repeated_change_with_one_key_is_one_generation(stack: Stack) -> None:
    cluster = await stack.create()
    headers = {"Idempotency-Key": str(uuid4()), "If-Match": cluster["etag"]}
    path, patch = f"/v1/clusters/{cluster['id']}", {"spec": {"version": "1.35.1"}}
    answers = await asyncio.gather(*(stack.http.patch(path, json=patch, headers=headers) for _ in range(5)))
    assert {(answer.status_code, answer.json()["generation"]) for answer in answers} == {(202, 2)}


async def test_one_name_asked_for_at_once_becomes_one_cluster(stack: Stack) -> None:
    body = {"name": fresh(), "spec": ClusterSpec.example}
    answers = await asyncio.gather(*(stack.http.post("/v1/clusters", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202, *[422] * 7]


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at"])
async def test_pages_show_each_item_once_while_others_come(stack: Stack, sort: str) -> None:
    prefix = fresh("page")[:12]
    names = [f"{prefix}-{letter}" for letter in "bdfhj"]
    for name in names:
        await stack.http.post("/v1/clusters", json={"name": name, "spec": ClusterSpec.example})
    seen: list[str] = []
    query: dict[str, Any] = {"q": prefix, "sort": sort, "limit": 2}
    while True:
        page = (await stack.http.get("/v1/clusters", params=query)).json()
        seen += [item["name"] for item in page["items"]]
        if not page["next"]:
            break
        query["after"] = page["next"]
        late = f"{prefix}-{'z' if sort.startswith('-') else 'a'}{len(seen)}"
        if sort.endswith("name") or sort.startswith("-"):
            await stack.http.post("/v1/clusters", json={"name": late, "spec": ClusterSpec.example})
    assert seen == sorted(names, reverse=sort.startswith("-"))


async def test_lists_are_filtered(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    for query, is_in in [
        ({"phase": "Ready"}, True),
        ({"phase": "Failed"}, False),
        ({"version": "1.34.2", "cloud": "sandbox"}, True),
        ({"version": "1.35.1"}, False),
        ({"cloud": "other"}, False),
        ({"health": "Unreachable"}, False),
    ]:
        items = (await stack.http.get("/v1/clusters", params={**query, "q": cluster["name"]})).json()["items"]
        assert bool(items) is is_in, query


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/clusters", b"{not json", 400),
        ("POST", "/v1/clusters", b"\xff\xfe", 400),
        ("POST", "/v1/clusters", b"[" * 100_000, 400),
        ("POST", "/v1/clusters", b"[]", 422),
        ("POST", "/v1/clusters", b'{"name": "\\ud800", "spec": {"\\ud800": "\\u0000"}}', 422),
        ("POST", "/v1/clusters", b'{"name": "a", "spec": {}, "extra": 1}', 422),
        ("POST", "/v1/clusters", b'{"name": "a", "spec": {"workers": [{"count": 1e999}]}}', 422),
        ("POST", "/v1/clusters", b" " * 300_000, 413),
        ("GET", "/v1/clusters?teem=default", b"", 422),
        ("GET", "/v1/clusters?limit=0", b"", 422),
        ("GET", "/v1/clusters?limit=99999999999999999999", b"", 422),
        ("GET", "/v1/clusters?after=AAAA", b"", 422),
        ("GET", "/v1/clusters?q=%00", b"", 422),
        ("GET", "/v1/clusters?phase=Fine", b"", 422),
        ("GET", "/v1/clusters/%00", b"", 404),
        ("GET", "/v1/clusters/No_Such", b"", 404),
        ("GET", f"/v1/clusters/{UNKNOWN}/nodes", b"", 404),
        ("POST", f"/v1/clusters/{UNKNOWN}/nodes/n/replace", b"", 404),
        ("POST", f"/v1/clusters/{UNKNOWN}/nodes/n/replace", b'{"reason": "a\\nb"}', 422),
        ("GET", "/v1/nothing", b"", 404),
        ("PUT", "/v1/clusters", b"", 405),
        ("POST", "/v1/dead-letters/0/replay", b"", 422),
        ("POST", "/v1/dead-letters/999999/replay", b"", 404),
        ("DELETE", f"/v1/tokens/{UNKNOWN}", b"", 404),
        ("GET", "/v1/login", b"", 404),
    ],
)
async def test_bad_input_is_a_problem_and_never_a_defect(
    stack: Stack, method: str, path: str, content: bytes, status: int
) -> None:
    answer = await stack.http.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "who_can_fix", "retry_helps", "problems", "trace_id"} <= set(problem)
    assert (problem["status"], len(problem["trace_id"])) == (status, 32)


async def test_another_teams_cluster_does_not_exist_on_any_route(stack: Stack) -> None:
    cluster = await stack.create()
    async with stack.speaking_as(Role.DEVELOPER, "others") as outsider:
        for route in ROUTES:
            if "{cluster}" not in route.path:
                continue
            for ref in (cluster["id"], cluster["name"]):
                answer = await outsider.request(route.method, route.filled(cluster=ref), json=route.body)
                assert answer.status_code == 404, (route, answer.text)
        foreign = await outsider.get(f"/v1/clusters/{cluster['name']}", params={"team": "default"})
        assert foreign.status_code == 404
        assert (await outsider.get("/v1/clusters", params={"team": "default"})).status_code == 403
        assert (await outsider.get("/v1/clusters")).json()["items"] == []
        body = {"name": fresh(), "spec": ClusterSpec.example}
        assert (await outsider.post("/v1/clusters", json=body, params={"team": "default"})).status_code == 403
        own = await outsider.post("/v1/clusters", json={"name": cluster["name"], "spec": ClusterSpec.example})
        assert (own.status_code, own.json()["team"]) == (202, "others"), "names are free in another team"
    seen = await stack.http.get(f"/v1/clusters/{cluster['name']}", params={"team": "others"})
    assert seen.json()["id"] == own.json()["id"], "an admin sees every team"


async def test_a_viewer_reads_and_changes_nothing(stack: Stack) -> None:
    cluster = await stack.create()
    path = f"/v1/clusters/{cluster['id']}"
    async with stack.speaking_as(Role.VIEWER) as viewer:
        assert (await viewer.get(path)).status_code == 200
        assert (await viewer.get("/v1/whoami")).json()["role"] == "viewer"
        assert (await viewer.delete(path)).status_code == 403
        assert (await viewer.post(f"{path}/retry")).status_code == 403
        assert (await viewer.post(f"{path}/nodes/n/replace")).status_code == 403
        assert (await viewer.post("/v1/clusters", json={"name": "x", "spec": {}})).status_code == 403
        assert (await viewer.get("/v1/dead-letters")).status_code == 403
        assert (await viewer.post(f"{path}/kubeconfig", json={"role": "admin"})).status_code == 403


async def test_a_revoked_token_opens_nothing(stack: Stack) -> None:
    issued = (await stack.http.post("/v1/tokens", json={"user": "eve"})).json()
    async with stack.client(issued["token"]) as eve:
        who = (await eve.get("/v1/whoami")).json()
        assert (who["user"], who["team"], who["role"]) == ("eve", "default", "developer")
        assert (await stack.http.delete(f"/v1/tokens/{issued['id']}")).status_code == 204
        assert (await eve.get("/v1/whoami")).status_code == 401
    listed = (await stack.http.get("/v1/tokens")).text
    assert issued["id"] not in listed
    assert "token" not in (await stack.http.get("/v1/tokens")).json()["items"][0]


async def test_a_token_that_has_expired_opens_nothing(stack: Stack) -> None:
    body = {"user": "eve", "lasts_s": 60}
    issued = (await stack.http.post("/v1/tokens", json=body)).json()
    async with stack.client(issued["token"]) as eve:
        assert (await eve.get("/v1/whoami")).status_code == 200
        async with stack.service.db.transaction() as tx:
            await tx.exec(update(Token).where(col(Token.user) == "eve").values(expires_at=datetime.now(UTC)))
        assert (await eve.get("/v1/whoami")).status_code == 401


async def test_a_token_tells_when_it_was_last_used(stack: Stack) -> None:
    issued = (await stack.http.post("/v1/tokens", json={"user": "eve"})).json()

    async def last_used() -> str | None:
        listed = (await stack.http.get("/v1/tokens")).json()["items"]
        return next(str(each["last_used_at"]) for each in listed if each["id"] == issued["id"])

    assert await last_used() == "None"
    async with stack.client(issued["token"]) as eve:
        await eve.get("/v1/whoami")
        first = await last_used()
        await eve.get("/v1/whoami")
    assert first != "None"
    assert await last_used() == first, "noted once a minute"


async def test_before_the_offers_are_known_a_retry_is_advised(tmp_path: Path, nats_server: NatsServer) -> None:
    async with running(tmp_path, nats_server) as early:
        for method, path in [("GET", "/v1/versions"), ("GET", "/v1/clouds"), ("POST", "/v1/clusters")]:
            body = {"name": "a", "spec": ClusterSpec.example} if method == "POST" else None
            answer = await early.http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["retry_helps"]) == (503, True)
            assert int(answer.headers["Retry-After"]) >= 1
