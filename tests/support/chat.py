"""Slack and Mattermost as the api meets them: what they send, written by hand from their documentation, and a fake of
what they listen at. The fake is a fake: it checks shapes and keeps what it gets; no chat is behind it.

Slack: https://docs.slack.dev/interactivity/implementing-slash-commands, …/reference/interaction-payloads.
Mattermost: https://developers.mattermost.com/integrate/slash-commands/custom, …/plugins/interactive-messages.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from aiohttp import web
from slack_sdk.models.blocks import Block
from slack_sdk.signature import SignatureVerifier

SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
MATTERMOST_TOKEN = "xr3j5x3p4pfk7kk6ck7b4e6ghh"
SLACK_WORKSPACE, MATTERMOST_TEAM = "T0001", "rdc9bgriktyx9p4kowh3dmgqyc"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """One HTTP request of a product's."""

    body: bytes
    headers: dict[str, str]

    def but(self, **headers: str | None) -> "Request":
        """The same with other headers; None leaves one out. Names have `_` for `-`."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in changed}
        return Request(self.body, kept | {name: value for name, value in changed.items() if value is not None})


def slack_command(
    text: str, *, user: str = "U2147483697", workspace: str = SLACK_WORKSPACE, reply_url: str | None = None
) -> Request:
    """`/caravan TEXT` in Slack."""
    fields = {
        "token": "gIkuvaNzQIHg97ATvDxqgjtO",
        "team_id": workspace,
        "team_domain": "example",
        "channel_id": "C2147483705",
        "channel_name": "test",
        "user_id": user,
        "user_name": "Steve",
        "command": "/caravan",
        "text": text,
        "response_url": reply_url or "https://hooks.slack.com/commands/1234/5678",
        "trigger_id": f"13345224609.738474920.{uuid4().hex}",
        "api_app_id": "A123456",
        "is_enterprise_install": "false",
    }
    return signed_by_slack(urlencode(fields).encode())


def slack_press(value: str, reply_url: str, *, user: str = "U2147483697", workspace: str = SLACK_WORKSPACE) -> Request:
    """A pressed button in Slack."""
    payload = {
        "type": "block_actions",
        "team": {"id": workspace, "domain": "example"},
        "user": {"id": user, "username": "steve", "name": "steve", "team_id": workspace},
        "api_app_id": "A123456",
        "token": "Shh_its_a_seekrit",
        "container": {
            "type": "message",
            "message_ts": "1548261231.000200",
            "channel_id": "C2147483705",
            "is_ephemeral": True,
        },
        "trigger_id": f"12466734323.1395872398.{uuid4().hex}",
        "channel": {"id": "C2147483705", "name": "test"},
        "response_url": reply_url,
        "actions": [
            {
                "action_id": "0-0",
                "block_id": "=qXel",
                "text": {"type": "plain_text", "text": "Extend", "emoji": True},
                "value": value,
                "type": "button",
                "action_ts": "1548426417.840180",
            }
        ],
    }
    return signed_by_slack(urlencode({"payload": json.dumps(payload)}).encode())


def signed_by_slack(body: bytes, *, at: float | None = None, secret: str = SLACK_SECRET) -> Request:
    """A body with the signature that Slack's own SDK makes for it."""
    moment = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=moment, body=body)
    assert signature
    return Request(
        body, {"Content-Type": FORM, "X-Slack-Request-Timestamp": moment, "X-Slack-Signature": str(signature)}
    )


def mattermost_command(
    text: str,
    *,
    user: str = "i9g1b6ep4fb8bk4wtt1wuhqxmw",
    team: str = MATTERMOST_TEAM,
    reply_url: str | None = None,
    trigger: str | None = None,
    token: str = MATTERMOST_TOKEN,
) -> Request:
    """`/caravan TEXT` in Mattermost."""
    fields = {
        "channel_id": "fukkj7djgbfaxyybhrj5y7jq3h",
        "channel_name": "town-square",
        "command": "/caravan",
        "response_url": reply_url or "https://mattermost.example.org/hooks/commands/8kqwxsdr3jfgzyyr7mh8tkmphy",
        "team_domain": "test",
        "team_id": team,
        "text": text,
        "token": token,
        "trigger_id": trigger or uuid4().hex,
        "user_id": user,
        "user_name": "rob",
    }
    return Request(urlencode(fields).encode(), {"Content-Type": FORM, "Authorization": f"Token {token}"})


def mattermost_press(
    action: dict[str, Any], *, user: str = "i9g1b6ep4fb8bk4wtt1wuhqxmw", trigger: str | None = None
) -> Request:
    """A pressed button in Mattermost: it sends the action's own context back."""
    body = {
        "user_id": user,
        "user_name": "rob",
        "channel_id": "fukkj7djgbfaxyybhrj5y7jq3h",
        "channel_name": "town-square",
        "team_id": MATTERMOST_TEAM,
        "team_domain": "test",
        "post_id": "4jh7mgs8xbn6zqhtbi4a8ifxga",
        "trigger_id": trigger or uuid4().hex,
        "type": "button",
        "data_source": "",
        "context": action["integration"]["context"],
    }
    return Request(json.dumps(body).encode(), {"Content-Type": "application/json"})


@dataclass
class FakeChat:
    """Listens where products take answers and notifications; complains of what they would not take.

    `answers` are the statuses, with headers, that the next messages get; then all are taken.
    """

    url: str = ""
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of each message that was taken."""
    tries: list[float] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def at(self, path: str) -> list[dict[str, Any]]:
        """What was taken at a path."""
        return [body for where, body in self.got if where == path]

    async def take(self, request: web.Request) -> web.Response:
        """One message."""
        self.tries.append(time.monotonic())
        body = await request.json()
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text="no_service")
        self._check(request, body)
        self.got.append((request.path, body))
        return web.Response(text="ok")

    def _check(self, request: web.Request, body: dict[str, Any]) -> None:
        if request.content_type != "application/json":
            self.complaints.append(f"content type {request.content_type}")
        if not body.get("text"):
            self.complaints.append(f"no text: {body}")
        if blocks := body.get("blocks"):
            check_blocks(blocks)
        for attachment in body.get("attachments", []):
            for action in attachment["actions"]:
                if not action["id"].isalnum():
                    self.complaints.append(f"Mattermost takes no such action id: {action['id']}")


def check_blocks(blocks: list[dict[str, Any]]) -> None:
    """Raise what Slack's SDK raises for blocks that Slack would not take."""
    parsed = Block.parse_all(blocks)
    assert len(parsed) == len(blocks) <= 50
    for block in parsed:
        assert block.to_dict()


@asynccontextmanager
async def fake_chat(port: int) -> AsyncIterator[FakeChat]:
    """A fake that listens on a port of loopback."""
    chat = FakeChat(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/{path:.*}", chat.take)
    runner = web.AppRunner(app, access_log=None)  # it would name URLs that the api may not
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield chat
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
    assert chat.complaints == []
