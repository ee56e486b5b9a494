"""Each HTTP request that a service's doors serve: its span, and how often, how well and how fast each route answers.

A route is its template (`/v1/clusters/{cluster}`), never the path: names and ids are no labels. Seconds count until the
answer begins; how long a stream then goes on is its listener's choice.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import Counter, Histogram

from caravan_shared.plumbing import tracing

Scope = dict[str, Any]
AsgiReceive = Callable[[], Awaitable[dict[str, Any]]]
AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, AsgiReceive, AsgiSend], Awaitable[None]]

_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CARRIED = frozenset({tracing.TRACEPARENT.encode(), tracing.TRACESTATE.encode()})
_BROKE_OFF = 500  # what the server answers where the app raised before it answered

_REQUESTS = Counter("caravan_http_requests_total", "Requests answered.", ["method", "route", "status"])
_SECONDS = Histogram(
    "caravan_http_request_seconds",
    "Seconds until an answer began.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


async def serve(doors: AsgiApp, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
    """Have `doors` serve one HTTP request, and note how."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    began, answered = time.perf_counter(), _Answered()

    async def note(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.status, answered.after_s = message["status"], time.perf_counter() - began
        await send(message)

    with tracing.door(method, _carrier(scope), {"http.request.method": method}) as span:
        try:
            await doors(scope, receive, note)
        finally:
            route = route_of(scope)
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": answered.status})
            _REQUESTS.labels(method, route, str(answered.status)).inc()
            if answered.after_s is not None:
                _SECONDS.labels(method, route).observe(answered.after_s)


class _Answered:
    status: int = _BROKE_OFF
    after_s: float | None = None


def route_of(scope: Scope) -> str:
    """The template of the route that took a request; `none` where there was none."""
    path = getattr(scope.get("route"), "path", None)
    return f"{scope.get('root_path', '')}{path}" if path else _NO_ROUTE


def _carrier(scope: Scope) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
