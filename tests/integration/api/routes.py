"""Every route of the REST and of the web door, from their own tables, with something to fill it with: a new one cannot
be forgotten.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter

from caravan_api.access import Role
from caravan_api.access.guard import is_signed, needed_role
from caravan_api.doors.rest.app import ROUTERS, api_routes
from caravan_api.doors.web import app as web

PLACES = {
    "cluster": "x",
    "cloud": "x",
    "name": "workers",
    "node": "x",
    "grant_id": str(uuid4()),
    "run_id": str(uuid4()),
    "letter_id": "1",
    "token_id": str(uuid4()),
    "pool": "x",
    "lease": str(uuid4()),
    "kind": "user",
    "link_id": str(uuid4()),
}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/clusters"): {"name": "x", "spec": {}},
    ("PATCH", "/v1/clusters/{cluster}"): {"spec": {}},
    ("PATCH", "/v1/clusters/{cluster}/node-sets/{name}"): {"count": 1},
    ("POST", "/v1/clusters/{cluster}/kubeconfig"): {},
    ("PUT", "/v1/clusters/{cluster}/lifetime"): {"lifetime_s": None},
    ("POST", "/v1/pools"): {"name": "x", "spec": {}},
    ("PATCH", "/v1/pools/{pool}"): {"spec": {}},
    ("POST", "/v1/pools/{pool}/leases"): {},
    ("POST", "/v1/leases/{lease}/extend"): {},
    ("POST", "/v1/machines"): {"machines": []},
    ("PATCH", "/v1/machines/{name}"): {},
    ("POST", "/v1/machines/{name}/release"): {},
    ("POST", "/v1/plans"): {"action": "create"},
    ("POST", "/v1/tokens"): {"user": "x"},
    ("POST", "/v1/teams"): {"name": "x"},
    ("PATCH", "/v1/teams/{name}"): {},
    ("PUT", "/v1/members/{kind}/{name:path}"): {},
    ("POST", "/v1/chat-links"): {"code": "x"},
    ("PUT", "/v1/notifications/{name}"): {
        "product": "slack",
        "url": "https://hooks.slack.com/x",
        "occasions": ["lease-ending"],
    },
    # Of the web door, as forms.
    ("POST", "/clusters/{cluster}/scale"): {"node_set": "workers", "count": "3"},
    ("POST", "/clusters/{cluster}/upgrade"): {"version": "1.35.1"},
    ("POST", "/clusters/{cluster}/pause"): {"paused": "true"},
    ("POST", "/clusters/{cluster}/replace"): {"node": "x"},
    ("POST", "/clusters/{cluster}/delete"): {"confirm": "x"},
    ("POST", "/clusters/{cluster}/revoke"): {"grant": str(uuid4())},
    ("POST", "/pools/{pool}/delete"): {"confirm": "x"},
    ("POST", "/grants/revoke"): {"user": "x"},
    ("POST", "/machines/{name}/release"): {"etag": '"1"'},
    ("POST", "/dead-letters/{letter_id}/mended"): {"body": "{}"},
    ("POST", "/settings/members"): {"kind": "user", "name": "x", "role": "viewer"},
    ("POST", "/settings/members/remove"): {"kind": "user", "name": "x"},
    ("POST", "/settings/quotas"): {"name": "x"},
    ("POST", "/settings/tokens"): {"role": "viewer"},
    ("POST", "/settings/notifications"): {
        "name": "x",
        "product": "slack",
        "url": "https://hooks.slack.com/x",
        "occasions": ["lease-ending"],
    },
    ("POST", "/settings/notifications/remove"): {"name": "x"},
}
QUERIES: dict[tuple[str, str], dict[str, str]] = {
    ("DELETE", "/v1/grants"): {"user": "x"},
    ("POST", "/pools/{pool}/change"): {"etag": '"1"'},
}


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    needs: Role
    tags: frozenset[str]

    @property
    def body(self) -> dict[str, Any] | None:
        """A body of the right shape."""
        return BODIES.get((self.method, self.path))

    @property
    def query(self) -> dict[str, str]:
        """What the query has to say."""
        return QUERIES.get((self.method, self.path), {})

    def filled(self, **places: str) -> str:
        """The path, naming these things, and nothing that exists for the rest."""
        return re.sub(r"\{(\w+)(:path)?\}", lambda place: {**PLACES, **places}[place[1]], self.path)


def _routes(routers: Sequence[APIRouter]) -> list[Route]:
    found = [route for router in routers for route in api_routes(router)]
    return [
        Route(method, route.path, needs, frozenset(map(str, route.tags)))
        for route in found
        for method in sorted(route.methods or ())
        if (needs := needed_role(route))
    ]


ROUTES = _routes(ROUTERS)
WEB_ROUTES = _routes(web.ROUTERS)
"""Those that need a session."""
SIGNED = [route.path for router in ROUTERS for route in api_routes(router) if is_signed(route)]
"""The paths, all of POST, that ask for a signature instead of a token."""
