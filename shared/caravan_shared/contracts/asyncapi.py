"""The AsyncAPI 3 document of what teams and Caravan say to each other, drawn from the classes themselves. Pure.

It speaks as AsyncAPI wants it, of what Caravan does: it receives what teams ask, and sends what they are told.
Addresses are those that a team sees from its own NATS account. Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import inspect
from typing import Any

from pydantic.json_schema import models_json_schema

from caravan_shared.contracts.facts import PROGRESS, Event
from caravan_shared.contracts.public import ASKS, TOLD, ClusterWanted

Json = dict[str, Any]

VERSION = "1"
"""Of the conversation as a whole; each message has its own `x-schema-version` besides."""

_SCHEMAS = "#/components/schemas/"


def document() -> Json:
    """The whole document, as plain values."""
    events: dict[str, type[Event]] = {
        ASKS: ClusterWanted,
        **{f"{PROGRESS}.{subject}": event for subject, event in TOLD.items()},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Caravan's events for teams",
            "version": VERSION,
            "description": "How a team asks for clusters over NATS and is told how far they are. How to connect: "
            "docs/teams-over-nats.md.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "Of `caravan up`; the URL with your password is in `.caravan/credentials`.",
            }
        },
        "channels": {key: _channel(key, event) for key, event in events.items()},
        "operations": {_operation_name(key): _operation(key) for key in events},
        "components": {
            "messages": {key: _message(event) for key, event in events.items()},
            "schemas": _schemas(list(events.values())),
            "securitySchemes": {
                "team": {"type": "userPassword", "description": "The team's name, and its account's password."}
            },
        },
    }


def _channel(key: str, event: type[Event]) -> Json:
    channel = {"description": _doc(event), "messages": {key: {"$ref": f"#/components/messages/{key}"}}}
    if key == ASKS:
        return {"address": ASKS, **channel}
    return {"address": f"{PROGRESS}.{{team}}.{event.subject}", "parameters": {"team": _team()}, **channel}


def _team() -> Json:
    return {"description": "Your team's name, as `GET /v1/whoami` shows it.", "examples": ["payments"]}


def _operation_name(key: str) -> str:
    return f"{'receive' if key == ASKS else 'send'}.{key}"


def _operation(key: str) -> Json:
    channel = f"#/channels/{key}"
    return {
        "action": "receive" if key == ASKS else "send",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{key}"}],
        "security": [{"$ref": "#/components/securitySchemes/team"}],
    }


def _message(event: type[Event]) -> Json:
    return {
        "name": event.__name__,
        "title": event.subject,
        "summary": _doc(event).split("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "x-schema-version": event.schema_version,
        "payload": {"$ref": f"{_SCHEMAS}{event.__name__}"},
        "examples": [{"payload": event.example}],
        **({} if event is ClusterWanted else {"headers": _headers(event)}),
    }


def _headers(event: type[Event]) -> Json:
    """The CloudEvents attributes that tell events apart; others travel besides."""
    return {
        "type": "object",
        "properties": {
            "ce-id": {"type": "string", "description": "Unique: the same event delivered twice has the same one."},
            "ce-type": {"type": "string", "const": f"caravan.{event.subject}.v{event.schema_version}"},
            "ce-time": {"type": "string", "format": "date-time"},
            "ce-sequence": {"type": "string", "description": "Of two about the same thing the higher one is newer."},
            "ce-subject": {"type": "string", "description": "The cluster's id, where it is about one."},
        },
    }


def _schemas(events: list[type[Event]]) -> Json:
    # As validation sees them: a field that has a default need not be sent, nor be there in what older versions sent.
    _, schema = models_json_schema([(event, "validation") for event in events], ref_template=f"{_SCHEMAS}{{model}}")
    return dict(schema["$defs"])


def _doc(event: type[Event]) -> str:
    return inspect.cleandoc(event.__doc__ or "")
