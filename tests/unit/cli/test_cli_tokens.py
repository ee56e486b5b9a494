"""`caravan token`, against an API of laid-down answers."""

from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

ISSUED = {
    "id": "0190f6f0-5b7c-7000-8000-000000000001",
    "user": "alice",
    "team": "builds",
    "role": "viewer",
    "scopes": ["leases"],
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-31T00:00:00Z",
    "last_used_at": None,
}


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def caravan(api: FakeApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", "token", *arguments], obj=api)


def test_a_new_token_alone_is_on_standard_output(api: FakeApi) -> None:
    api.on("POST /v1/tokens", {**ISSUED, "token": "caravan_secret"})
    wish = ("--team", "builds", "--role", "viewer", "--scope", "leases", "--expires", "30d")
    made = caravan(api, "create", "alice", *wish)
    assert made.stdout == "caravan_secret\n"
    asked: dict[str, Any] = {"user": "alice", "role": "viewer", "scopes": ["leases"], "lasts_s": 30 * 86_400}
    assert api.bodies("POST /v1/tokens") == [asked]
    assert api.requests[0].url.params["team"] == "builds"
    assert "until 2026-01-31" in made.stderr
    assert "for leases only" in made.stderr


def test_without_a_name_the_token_is_ones_own(api: FakeApi) -> None:
    api.on("POST /v1/tokens", {**ISSUED, "token": "caravan_secret"})
    assert caravan(api, "create").exit_code == 0
    assert "user" not in api.bodies("POST /v1/tokens")[0]
    assert "team" not in api.requests[0].url.params


def test_the_list_tells_who_when_and_until_when(api: FakeApi) -> None:
    api.on("GET /v1/tokens", {"items": [ISSUED], "next": None})
    row = caravan(api, "list").stdout.splitlines()[1].split()
    assert row == [ISSUED["id"], "alice", "builds", "viewer", "leases", ISSUED["expires_at"], "never"]
    assert caravan(api, "list", "-o", "name").stdout == f"{ISSUED['id']}\n"


def test_a_token_is_revoked(api: FakeApi) -> None:
    api.on(f"DELETE /v1/tokens/{ISSUED['id']}", httpx.Response(204))
    assert caravan(api, "revoke", str(ISSUED["id"])).exit_code == 0
    assert len(api.requests) == 1
