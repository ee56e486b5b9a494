"""`caravan grants`, against an API of laid-down answers."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

OPEN: dict[str, Any] = {
    "grant_id": "0190f6f0-5b7c-7000-8000-00000000000a",
    "user": "alice",
    "role": "admin",
    "cluster_id": "0190f6f0-5b7c-7000-8000-000000000001",
    "cluster": "demo",
    "team": "default",
    "is_open": True,
    "issued_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T08:00:00Z",
    "revoked_at": None,
}
OVER = {**OPEN, "grant_id": "0190f6f0-5b7c-7000-8000-00000000000b", "is_open": False}
TOLD: dict[str, Any] = {"user": "alice", "team": None, "revoked": [OPEN], "pending": [], "more": 0, "tokens": 0}


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.on("GET /v1/grants", {"items": [OPEN, OVER], "next": None})
    api.on("DELETE /v1/grants", TOLD)
    return api


def caravan(api: FakeApi, *arguments: str, stdin: str | None = None) -> Result:
    words = ["--url", "http://caravan.test", "--token", "t", "grants", *arguments]
    return CliRunner().invoke(app, words, obj=api, input=stdin)


def test_list_tells_who_holds_what_and_whether_it_still_opens_anything(api: FakeApi) -> None:
    heads, first, second = caravan(api, "list", "--user", "alice").stdout.splitlines()
    assert heads.split()[:5] == ["ID", "USER", "ROLE", "TEAM", "CLUSTER"]
    assert first.split()[:5] == [OPEN["grant_id"], "alice", "admin", "default", "demo"]
    assert ("open until" in first, second.split()[-1]) == (True, "over")
    assert dict(api.requests[-1].url.params)["user"] == "alice"
    assert caravan(api, "list", "--open", "-o", "name").stdout == f"{OPEN['grant_id']}\n"


def test_all_of_a_person_is_revoked_once_that_is_confirmed(api: FakeApi) -> None:
    assert caravan(api, "revoke", "alice", stdin="n\n").exit_code == 1
    assert not api.requests
    done = caravan(api, "revoke", "alice", stdin="y\n")
    assert done.exit_code == 0, done.output
    assert dict(api.requests[-1].url.params) == {"user": "alice"}
    assert f"Revoked: admin of demo ({OPEN['grant_id']})" in done.stderr


def test_what_is_pending_is_told_with_its_reason_and_an_exit_code(api: FakeApi) -> None:
    pending = {**OPEN, "reason": "it can't be reached"}
    api.on("DELETE /v1/grants", {**TOLD, "revoked": [], "pending": [pending], "tokens": 2})
    done = caravan(api, "revoke", "alice", "--yes")
    assert done.exit_code == 8
    assert "Pending: admin of demo" in done.stderr
    assert "it can't be reached" in done.stderr
    assert "2 valid token(s)" in done.stderr
    document = caravan(api, "revoke", "alice", "--yes", "-o", "json")
    assert (json.loads(document.stdout)["pending"][0]["cluster"], document.exit_code) == ("demo", 8)


def test_person_who_holds_nothing_is_no_error(api: FakeApi) -> None:
    api.on("DELETE /v1/grants", {**TOLD, "revoked": []})
    done = caravan(api, "revoke", "bob", "-y")
    assert (done.exit_code, "holds nothing" in done.stderr) == (0, True)


def test_one_grant_is_revoked_by_its_id(api: FakeApi) -> None:
    route = f"/v1/clusters/{OPEN['cluster_id']}/grants/{OPEN['grant_id']}"
    api.on(f"DELETE {route}", httpx.Response(204))
    assert caravan(api, "revoke", "--grant", OPEN["grant_id"], "--yes").exit_code == 0
    assert api.requests[-1].url.path == route
    unknown = caravan(api, "revoke", "--grant", "0190f6f0-5b7c-7000-8000-0000000000ff", "--yes")
    assert unknown.exit_code == 3


@pytest.mark.parametrize("words", [(), ("alice", "--grant", OPEN["grant_id"])])
def test_whose_access_is_meant_must_be_said_in_one_way(api: FakeApi, words: tuple[str, ...]) -> None:
    assert caravan(api, "revoke", *words, "--yes").exit_code == 2
    assert not api.requests
