"""The HTTP routes every service has: is it alive, is it ready, its metrics, its events.

`/livez` fails (so that a supervisor restarts the process) when the bus connection is closed for good or a backlog does
not move; `/readyz` also while NATS or the store is away. `/asyncapi` is rendered here, without scripts from elsewhere.
"""

import html
import json
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy import text

from caravan_shared.plumbing.backlog import Backlog
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.serving import AsgiApp, AsgiReceive, AsgiSend, Scope, serve
from caravan_shared.plumbing.versions import version_of

_JSON, _TEXT, _HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"


_BUILD = Gauge("caravan_build_info", "1 for the version that runs.", ["service", "version"])


class Vitals:
    """An ASGI app with the routes above; any other path goes to `doors`, or is 404."""

    def __init__(self, service: str, db: Database, bus: Bus, backlog: Backlog) -> None:
        self._service, self._db, self._bus, self._backlog = service, db, bus, backlog
        self.doors: AsgiApp | None = None
        _BUILD.labels(service, version_of(service)).set(1)
        self._routes: dict[str, Callable[[], Awaitable[tuple[int, str, bytes]]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/asyncapi": self._asyncapi_page,
            "/asyncapi.json": self._asyncapi,
        }

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Serve one request."""
        route = self._routes.get(scope.get("path", "")) if scope["type"] == "http" else None
        if route is not None:
            await _respond(send, *await route())
        elif self.doors is not None and scope["type"] == "http":
            await serve(self.doors, scope, receive, send)
        elif self.doors is not None:
            await self.doors(scope, receive, send)
        elif scope["type"] == "http":
            await _respond(send, 404, _TEXT, f"{self._service} has no such page\n".encode())

    async def _livez(self) -> tuple[int, str, bytes]:
        if self._bus.died.is_set():
            return 503, _TEXT, b"the NATS connection is closed for good\n"
        if stuck := self._backlog.stuck():
            return 503, _TEXT, f"the backlog does not move: {', '.join(stuck)}\n".encode()
        return 200, _TEXT, b"ok\n"

    async def _readyz(self) -> tuple[int, str, bytes]:
        status, kind, body = await self._livez()
        if status != 200:
            return status, kind, body
        if not self._bus.connected or not self._bus.epoch:
            return 503, _TEXT, b"NATS is not connected\n"
        try:
            async with self._db.reading() as session:
                await (await session.connection()).execute(text("SELECT 1"))
        except Exception as error:  # whatever the driver raises: the answer is the same
            return 503, _TEXT, f"the store does not answer: {type(error).__name__}\n".encode()
        return 200, _TEXT, b"ok\n"

    async def _metrics(self) -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE_LATEST, generate_latest()

    async def _asyncapi(self) -> tuple[int, str, bytes]:
        return 200, _JSON, json.dumps(self._document(), indent=2).encode()

    async def _asyncapi_page(self) -> tuple[int, str, bytes]:
        return 200, _HTML, _page(self._service, self._document()).encode()

    def _document(self) -> dict[str, Any]:
        from faststream.specification import AsyncAPI

        specification = AsyncAPI(
            self._bus.broker, title=f"Caravan {self._service}", version="1", schema_version="3.0.0"
        )
        document: dict[str, Any] = json.loads(specification.to_specification().to_json())
        return document


def _page(service: str, document: dict[str, Any]) -> str:
    messages = document.get("components", {}).get("schemas", {})
    channels = "".join(
        f"<li><code>{html.escape(str(channel.get('address', name)))}</code></li>"
        for name, channel in sorted(document.get("channels", {}).items())
    )
    schemas = "".join(
        f"<h2>{html.escape(name)}</h2><pre>{html.escape(json.dumps(schema, indent=2))}</pre>"
        for name, schema in sorted(messages.items())
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{service}: events</title><h1>What {service} listens to</h1>"
        f'<p>The whole document: <a href="/asyncapi.json">asyncapi.json</a></p><ul>{channels}</ul>{schemas}'
    )


async def _respond(send: AsgiSend, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
