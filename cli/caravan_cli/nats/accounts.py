"""The accounts part of nats-server's configuration. Pure.

    account        may
    CARAVAN        everything of its own: the services, JetStream
    TEAM_<name>    publish `cluster.requested`, which arrives as `intake.<name>.cluster.requested` with JetStream's
                   acknowledgement coming back; hear `progress.<name>.>`
    SYS            watch the server

An account sees no other's subjects, so a team reaches neither our facts, nor JetStream's API, nor another team. A
user's permissions say the same once more: what is not allowed is refused at the team's own connection, loudly.
"""

import json
from collections.abc import Mapping
from typing import Any

from caravan_shared.contracts.public import ASKS, intake_subject, progress_subjects

OURS, SYSTEM = "CARAVAN", "SYS"
"""Accounts, and the names of their only users: in capitals, as no team's name can be."""

_INBOXES = "_INBOX.>"  # where answers to a team's requests come to; inboxes of other accounts are other subjects
_LARGEST_REQUEST = 256 * 1024  # bytes; what the REST door takes too
_MOST_CONNECTIONS = 64  # of a team: CI jobs side by side
_MOST_SUBSCRIPTIONS = 1024  # of a team
_NO_LEAFNODES = ["STANDARD", "WEBSOCKET"]  # a leaf node would bring a whole network of strangers in


def render(ours: str, system: str, teams: Mapping[str, str]) -> str:
    """The configuration, to be included by the server's own; each value is a password or, better, its bcrypt hash."""
    accounts = {
        SYSTEM: {"users": [{"user": SYSTEM, "password": system}]},
        OURS: {
            "jetstream": "enabled",
            "users": [{"user": OURS, "password": ours}],
            "exports": [export for team in sorted(teams) for export in _exports(team)],
        },
        **{account_of(team): _team(team, password) for team, password in sorted(teams.items())},
    }
    return f"system_account: {SYSTEM}\naccounts: {json.dumps(accounts, indent=2)}\n"  # JSON is what nats-server reads


def account_of(team: str) -> str:
    """The name of a team's account."""
    return f"TEAM_{team}"


def _exports(team: str) -> list[dict[str, Any]]:
    only = [account_of(team)]
    return [
        {"service": intake_subject(team), "accounts": only},
        {"stream": progress_subjects(team), "accounts": only},
    ]


def _team(team: str, password: str) -> dict[str, Any]:
    user = {
        "user": team,
        "password": password,
        "allowed_connection_types": _NO_LEAFNODES,
        "permissions": {"publish": {"allow": [ASKS]}, "subscribe": {"allow": [progress_subjects(team), _INBOXES]}},
    }
    return {
        "limits": {
            "max_connections": _MOST_CONNECTIONS,
            "max_subscriptions": _MOST_SUBSCRIPTIONS,
            "max_payload": _LARGEST_REQUEST,
        },
        "users": [user],
        "imports": [
            {"service": {"account": OURS, "subject": intake_subject(team)}, "to": ASKS},
            {"stream": {"account": OURS, "subject": progress_subjects(team)}},
        ],
    }
