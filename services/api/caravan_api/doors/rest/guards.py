"""What every request passes before its route: an id for the logs, a limit for the body, known query parameters only."""

import secrets
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caravan_api.access.guard import is_signed
from caravan_api.doors.rest.problems import refusal, unknown_parameters
from caravan_api.errors import TooLarge
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.log import bound

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Guards:
    """ASGI middleware: gives each request its id and reads its body, up to a limit, before the app sees it."""

    def __init__(self, app: ASGIApp, body_limit: int) -> None:
        self._app, self._limit = app, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = tracing.trace_id() or secrets.token_hex(16)
        scope.setdefault("state", {})["trace_id"] = trace_id
        with bound(trace_id=trace_id):
            try:
                replayed = await self._body(receive) if scope["method"] in _WITH_BODY else receive
            except TooLarge as error:
                await refusal(error, trace_id)(scope, receive, send)
                return
            await self._app(scope, replayed, _with_header(send, trace_id))

    async def _body(self, receive: Receive) -> Receive:
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                raise TooLarge(f"a body may have {self._limit} bytes")
        unread: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> Message:
            return unread.pop() if unread else await receive()

        return replayed


def _with_header(send: Send, trace_id: str) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"x-trace-id", trace_id.encode())]
        await send(message)

    return sent


async def only_known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not have: a misspelt filter would silently show everything.

    Routes that check a signature come to that first: who has none is told nothing.
    """
    asked = set(request.query_params)
    if asked and not is_signed(request.scope["route"]) and (unknown := asked - _parameters(request)):
        raise unknown_parameters(unknown)


def _parameters(request: Request) -> set[str]:
    path: dict[str, Any] = request.app.openapi()["paths"][request.scope["route"].path_format]
    described = path[request.method.lower()].get("parameters", [])
    return {parameter["name"] for parameter in described if parameter["in"] == "query"}
