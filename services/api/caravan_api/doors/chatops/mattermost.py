"""Mattermost: commands with a token in, message attachments out. Pure.

Commands: https://developers.mattermost.com/integrate/slash-commands/custom. Pressed buttons:
https://developers.mattermost.com/integrate/plugins/interactive-messages; their answer is a text without buttons.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from caravan_api.doors.chatops import said, signatures
from caravan_api.doors.chatops.answers import COMMAND, Answer, Button
from caravan_api.doors.chatops.integrations import MattermostCommand
from caravan_api.doors.chatops.said import Said
from caravan_api.errors import Unsigned
from caravan_api.markup import Product, escaped, literal

TOKEN = "Authorization"  # noqa: S105  # the header's name
Json = dict[str, Any]

_BUTTONS_LAST = timedelta(hours=24)


def command(app: MattermostCommand, integration: str, headers: Mapping[str, str], body: bytes) -> Said:
    """A slash command. Raises `Unsigned`."""
    if not signatures.by_mattermost(app.token.get_secret_value(), headers.get(TOKEN)):
        raise Unsigned
    fields = said.form(body)
    return said.typed(fields, integration, app.workspaces, _once(fields.get("trigger_id")))


def action(app: MattermostCommand, integration: str, body: bytes, now: datetime) -> Said:
    """A pressed button: what it says is what we signed, for the person whom we showed it. Raises `Unsigned`."""
    fields = said.document(body)
    context = said.part(fields.get("context"))
    user, expires = said.identifier(fields.get("user_id")), context.get("expires")
    text, signature = said.line(context.get("command")), said.line(context.get("signature"))
    if not isinstance(expires, int) or not signatures.is_of_button(
        signature, app.token.get_secret_value(), text, user, expires
    ):
        raise Unsigned
    if expires < now.timestamp():
        raise Unsigned
    return Said(
        integration=integration,
        workspace=said.one_of(app.workspaces, fields.get("team_id")),
        chat_user=user,
        chat_name=said.name(fields.get("user_name")),
        text=text,
        once=_once(fields.get("trigger_id")),
        reply_url=None,
    )


def shown(app: MattermostCommand, integration: str, answer: Answer, chat_user: str, now: datetime) -> Json:
    """An answer as Mattermost shows it to one person, with buttons that only they can press."""
    lines = [
        {
            "text": escaped(Product.MATTERMOST, line.text),
            "fallback": line.text,
            "actions": [
                _button(app, integration, button, f"b{number}x{place}", chat_user, now)
                for place, button in enumerate(line.buttons)
            ],
        }
        for number, line in enumerate(answer.lines)
    ]
    return {
        "response_type": "ephemeral",
        "text": _with_copy(escaped(Product.MATTERMOST, answer.text), answer),
        "skip_slack_parsing": True,
        "attachments": lines,
    }


def shown_after_press(answer: Answer) -> Json:
    """The same, where no buttons can be: what they would say is there to be typed."""
    parts = [escaped(Product.MATTERMOST, answer.text)]
    for line in answer.lines:
        parts += [escaped(Product.MATTERMOST, line.text)] if line.text else []
        parts += [literal(f"{COMMAND} {button.command}") for button in line.buttons]
    return {"ephemeral_text": _with_copy("\n".join(parts), answer), "skip_slack_parsing": True}


def _with_copy(text: str, answer: Answer) -> str:
    return f"{text}\n{literal(answer.to_copy)}" if answer.to_copy else text


def _once(trigger_id: object) -> str:
    """Mattermost makes one for each request, and signs it; ours is its hash."""
    if isinstance(trigger_id, str) and trigger_id:
        return signatures.digest(trigger_id)
    raise Unsigned


def _button(
    app: MattermostCommand, integration: str, button: Button, action_id: str, chat_user: str, now: datetime
) -> Json:
    expires = int((now + _BUTTONS_LAST).timestamp())
    signature = signatures.of_button(app.token.get_secret_value(), button.command, chat_user, expires)
    return {
        "id": action_id,
        "type": "button",
        "name": button.label,
        "style": "danger" if button.destroys else "default",
        "integration": {
            "url": f"{app.api_url}/chat/{integration}/actions",
            "context": {"command": button.command, "expires": expires, "signature": signature},
        },
    }
