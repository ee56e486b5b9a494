"""Slack: signed requests in, Block Kit out. Pure.

Commands: https://docs.slack.dev/interactivity/implementing-slash-commands. Pressed buttons:
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload; their answer goes to `response_url`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from caravan_api.doors.chatops import said, signatures
from caravan_api.doors.chatops.answers import Answer, Button
from caravan_api.doors.chatops.integrations import SlackApp
from caravan_api.doors.chatops.said import Said
from caravan_api.errors import Unsigned
from caravan_api.markup import Product, escaped, literal

SIGNATURE, TIME = "X-Slack-Signature", "X-Slack-Request-Timestamp"
Json = dict[str, Any]

# https://docs.slack.dev/reference/block-kit/blocks: of a section's text, of a button's label and value, of a message.
_LONGEST_TEXT, _LONGEST_LABEL, _LONGEST_QUESTION, _MOST_BLOCKS = 3000, 75, 300, 50


def command(app: SlackApp, integration: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Said:
    """A slash command. Raises `Unsigned`."""
    once = _checked(app, headers, body, now)
    return said.typed(said.form(body), integration, app.workspaces, once)


def action(app: SlackApp, integration: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Said:
    """A pressed button. Raises `Unsigned`."""
    once = _checked(app, headers, body, now)
    payload = said.document(said.form(body).get("payload", ""))
    user, actions = said.part(payload.get("user")), payload.get("actions")
    pressed = said.part(actions[0]) if isinstance(actions, list) and actions else {}
    return Said(
        integration=integration,
        workspace=said.one_of(app.workspaces, said.part(payload.get("team")).get("id")),
        chat_user=said.identifier(user.get("id")),
        chat_name=said.name(user.get("username")),
        text=said.line(pressed.get("value")),
        once=once,
        reply_url=said.line(payload.get("response_url")),
    )


def shown(answer: Answer) -> Json:
    """An answer as Slack shows it to one person."""
    return {
        "response_type": "ephemeral",
        "replace_original": False,
        "text": _cut(escaped(Product.SLACK, answer.text)),
        "blocks": list(_blocks(answer))[:_MOST_BLOCKS],
    }


def _checked(app: SlackApp, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """What tells this request from others: its signature, which is over its time too."""
    signature = headers.get(SIGNATURE)
    if signature and signatures.by_slack(
        app.signing_secret.get_secret_value(), headers.get(TIME), signature, body, now
    ):
        return signatures.digest(signature)
    raise Unsigned


def _blocks(answer: Answer) -> Iterator[Json]:
    yield _section(escaped(Product.SLACK, answer.text))
    for number, line in enumerate(answer.lines):
        yield _section(escaped(Product.SLACK, line.text))
        if line.buttons:
            elements = [_button(button, f"{number}-{place}") for place, button in enumerate(line.buttons)]
            yield {"type": "actions", "elements": elements}
    if answer.to_copy:
        yield _section(literal(escaped(Product.SLACK, answer.to_copy)))


def _section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text), "verbatim": True}}


def _button(button: Button, action_id: str) -> Json:
    made: Json = {
        "type": "button",
        "action_id": action_id,
        "text": _plain(button.label[:_LONGEST_LABEL]),
        "value": button.command,
    }
    if button.destroys:
        made["style"] = "danger"
    if button.asks:
        made |= {
            "value": button.sure_command,
            "confirm": {
                "title": _plain("Are you sure?"),
                "text": _plain(button.asks[:_LONGEST_QUESTION]),
                "confirm": _plain("Yes"),
                "deny": _plain("No"),
            },
        }
    return made


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
