"""One address, two doors: programs ask below `/v1`, `/chat` and `/openapi.json`, people look at everything else."""

from starlette.types import ASGIApp, Receive, Scope, Send

from caravan_api.doors.rest.app import build_rest
from caravan_api.doors.rest.context import Api
from caravan_api.doors.web.app import build_web

_PROGRAMS = ("/v1", "/chat", "/openapi.json")


class Front:
    """ASGI app: sends each request to its door."""

    def __init__(self, rest: ASGIApp, web: ASGIApp) -> None:
        self._rest, self._web = rest, web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await (self._rest if is_for_programs(scope.get("path", "")) else self._web)(scope, receive, send)


def is_for_programs(path: str) -> bool:
    """True for what is REST's and the chats'."""
    return any(path == own or path.startswith(f"{own}/") for own in _PROGRAMS)


def build_doors(api: Api) -> Front:
    """The ASGI app of all that is served over HTTP."""
    return Front(build_rest(api), build_web(api))
