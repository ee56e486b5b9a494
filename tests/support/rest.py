"""Answers as the REST API gives them, for tests of its clients."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx

Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


class FakeApi(httpx.MockTransport):
    """Answers each route in turn with what a test laid down for it; the last answer is given again and again."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.requests: list[httpx.Request] = []
        self._answers: dict[str, list[Answer]] = {}

    def on(self, route: str, *answers: Answer | dict[str, Any]) -> None:
        """Lay down the answers of a route, such as `GET /v1/clusters`; a dict is a 200 with that body."""
        self._answers[route] = [
            httpx.Response(200, json=answer) if isinstance(answer, dict) else answer for answer in answers
        ]

    def bodies(self, route: str) -> list[Any]:
        """The JSON bodies that were sent to a route."""
        return [json.loads(request.content) for request in self.requests if _route(request) == route]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answers = self._answers.get(_route(request))
        if not answers:
            return problem(404, "Not found", detail=f"no answer laid down for {_route(request)}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)


def problem(status: int, title: str, **fields: Any) -> httpx.Response:
    """A problem document."""
    body = {"type": "about:blank", "title": title, "status": status, **fields}
    return httpx.Response(status, headers={"Content-Type": "application/problem+json"}, content=json.dumps(body))


def cluster(**changes: Any) -> dict[str, Any]:
    """A Ready cluster with one control-plane node and two workers."""
    counts = {"creating": 0, "failed": 0, "leaving": 0, "machine_type": "medium"}
    return {
        "id": "0190f6f0-5b7c-7000-8000-000000000001",
        "name": "demo",
        "team": "default",
        "generation": 1,
        "phase": "Ready",
        "failure": None,
        "spec": {"version": "1.34.2", "cloud": "sandbox"},
        "version": "1.34.2",
        "health": {"verdict": "Healthy", "reason": "ready", "since": "2026-01-01T00:00:00Z"},
        "endpoint": {
            "host": "demo.default.caravan.test",
            "port": 6443,
            "addresses": ["127.64.0.1"],
            "resolvable": False,
        },
        "nodes": {"wanted": 3, "creating": 0, "made": 3, "joined": 3, "ready": 3, "failed": 0},
        "node_sets": [
            {"name": "control-plane", "role": "control-plane", "wanted": 1, "made": 1, "joined": 1, **counts},
            {"name": "workers", "role": "worker", "wanted": 2, "made": 2, "joined": 2, **counts},
        ],
        "step": None,
        "simulated": True,
        "created_at": "2026-01-01T00:00:00Z",
        "created_by": "alice",
        "updated_at": "2026-01-01T00:00:00Z",
        "etag": '"1.0"',
        **changes,
    }


def entry(number: int, text: str) -> dict[str, Any]:
    """One line of a timeline."""
    return {"id": number, "at": "2026-01-01T00:00:00Z", "kind": "k", "text": text, "source": "api", "data": {}}


def stream(*events: tuple[str, dict[str, Any]]) -> httpx.Response:
    """A stream of Server-Sent Events that ends after the given ones."""
    chunks = [f"id: {n}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for n, (kind, data) in enumerate(events, 1)]
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=_encoded(chunks))


def _encoded(chunks: Iterable[str]) -> bytes:
    return "".join(chunks).encode()


def _route(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"
