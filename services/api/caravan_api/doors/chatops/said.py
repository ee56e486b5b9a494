"""What somebody said in a chat, whatever the product; and how its fields are read from what products send. Pure."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from caravan_api.errors import Unsigned

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MOST_FIELDS = 40  # Slack sends 16, Mattermost 12
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Said:
    """A command that was typed, or that a pressed button stands for. Its product vouches for all of it."""

    integration: str
    workspace: str
    chat_user: str
    chat_name: str
    text: str
    """What stands after `/caravan`."""
    once: str
    """Tells this request from all others."""
    reply_url: str | None
    """Where more can be said to the same person, for a while."""


def typed(fields: Mapping[str, str], integration: str, workspaces: Collection[str], once: str) -> Said:
    """A slash command: both products send these fields. Raises `Unsigned`."""
    return Said(
        integration=integration,
        workspace=one_of(workspaces, fields.get("team_id")),
        chat_user=identifier(fields.get("user_id")),
        chat_name=name(fields.get("user_name")),
        text=line(fields.get("text", "")),
        once=once,
        reply_url=fields.get("response_url"),
    )


def one_of(workspaces: Collection[str], found: object) -> str:
    """The workspace, if it is one of those that may ask. Raises `Unsigned`."""
    if found in workspaces:
        return str(found)
    raise Unsigned


def form(body: bytes) -> Mapping[str, str]:
    """The fields of a form. Raises `Unsigned`: no product sends anything else."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Unsigned from error


def document(text: str | bytes) -> Mapping[str, Any]:
    """The JSON object in a text. Raises `Unsigned`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unsigned from error
    return part(found)


def part(found: object) -> Mapping[str, Any]:
    """An object within a document. Raises `Unsigned`."""
    if isinstance(found, dict):
        return found
    raise Unsigned


def identifier(found: object) -> str:
    """An id that a product gave to something. Raises `Unsigned`."""
    if isinstance(found, str) and _ID.fullmatch(found):
        return found
    raise Unsigned


def name(found: object) -> str:
    """What people are called, for people to read."""
    text = found if isinstance(found, str) else ""
    return "".join(each for each in text if each.isprintable())[:_LONGEST_NAME]


def line(found: object) -> str:
    """A text that was typed. Raises `Unsigned`."""
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode().replace("\0", "")
    raise Unsigned
