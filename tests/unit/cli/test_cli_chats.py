"""`caravan chat` and `caravan notification`, against an API of laid-down answers."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan_cli.main import app
from tests.support.rest import FakeApi

LINK = {
    "id": "0190f6f0-5b7c-7000-8000-000000000001",
    "integration": "acme",
    "workspace": "T0001",
    "chat_name": "alice.b",
    "user": "alice",
    "team": "builds",
    "linked_at": "2026-01-01T00:00:00Z",
}
RULE: dict[str, Any] = {
    "team": "builds",
    "name": "ci",
    "product": "slack",
    "channel": None,
    "occasions": ["lease-ending"],
    "pool": "ci",
    "cluster": None,
    "pending": 3,
    "problem": "hooks.slack.com answered 404: no_service",
    "stopped_at": "2026-01-01T00:00:00Z",
}
WEBHOOK = "https://hooks.slack.com/services/T000/B000/secret"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def caravan(api: FakeApi, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--url", "http://caravan.test", "--token", "t", *arguments], obj=api, input=typed)


def test_a_confirmed_link_names_whom_it_is_and_how_to_undo_it(api: FakeApi) -> None:
    api.on("POST /v1/chat-links", LINK)
    made = caravan(api, "chat", "link", "K7WQ2MZX9PAB")
    assert api.bodies("POST /v1/chat-links") == [{"code": "K7WQ2MZX9PAB"}]
    assert "@alice.b of acme is alice of the team builds" in made.stderr
    assert f"caravan chat unlink {LINK['id']}" in made.stderr


def test_links_are_listed_and_undone(api: FakeApi) -> None:
    api.on("GET /v1/chat-links", {"items": [LINK]})
    api.on(f"DELETE /v1/chat-links/{LINK['id']}", httpx.Response(204))
    assert caravan(api, "chat", "list", "-o", "name").stdout == f"{LINK['id']}\n"
    assert "alice.b" in caravan(api, "chat", "list").stdout
    assert caravan(api, "chat", "unlink", LINK["id"]).exit_code == 0


@pytest.mark.parametrize("from_file", [True, False])
def test_a_webhook_is_read_from_a_file_or_the_input_and_never_shown(
    api: FakeApi, tmp_path: Path, from_file: bool
) -> None:
    api.on("PUT /v1/notifications/ci", RULE)
    file = tmp_path / "url"
    file.write_text(f"{WEBHOOK}\n")
    given = ("--url-file", str(file)) if from_file else ()
    made = caravan(
        api, "notification", "set", "ci", "--on", "lease-ending", "--pool", "ci", *given, typed=f"{WEBHOOK}\n"
    )
    assert made.exit_code == 0, made.output
    body = api.bodies("PUT /v1/notifications/ci")[0]
    assert (body["url"], body["occasions"], body["pool"]) == (WEBHOOK, ["lease-ending"], "ci")
    assert WEBHOOK not in made.output


def test_a_stopped_notification_says_why(api: FakeApi) -> None:
    api.on("GET /v1/notifications", {"items": [RULE]})
    shown = caravan(api, "notification", "list").stdout
    assert "stopped:" in shown
    assert "3" in shown
