"""Requests are counted by the route that took them: no name, no id and no foreign text becomes a label."""

from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.serving import serve

app = FastAPI()


@app.get("/things/{thing}")
async def thing(thing: str) -> str:
    if thing == "broken":
        raise ZeroDivisionError
    return thing


async def _ask(path: str, method: str = "GET") -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "state": {}}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await serve(app, scope, receive, send)  # type: ignore[arg-type]
    return sent


def _count(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("caravan_http_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("path", "method", "counted"),
    [
        ("/things/a", "GET", ("GET", "/things/{thing}", "200")),
        ("/nowhere/4711", "GET", ("GET", "none", "404")),
        ("/things/a", "BREW", ("other", "/things/{thing}", "405")),
    ],
)
async def test_request_counts_for_its_route(path: str, method: str, counted: tuple[str, str, str]) -> None:
    before = _count(*counted)
    await _ask(path, method)
    assert _count(*counted) == before + 1


async def test_request_that_broke_is_an_error_and_its_span_says_so() -> None:
    exporter = InMemorySpanExporter()
    tracing.start_with(exporter, "example", "one")
    before = _count("GET", "/things/{thing}", "500")
    with pytest.raises(ZeroDivisionError):
        await _ask("/things/broken")
    tracing.stop()
    assert _count("GET", "/things/{thing}", "500") == before + 1
    [span] = exporter.get_finished_spans()
    assert span.name == "GET /things/{thing}"
    assert not span.status.is_ok
