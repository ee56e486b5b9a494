"""Put the web door together, and refuse to start if a route forgot to say who may use it."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from caravan_api.access import routes_open_to_all
from caravan_api.doors.rest.app import api_routes
from caravan_api.doors.rest.context import Api
from caravan_api.doors.rest.guards import Guards
from caravan_api.doors.web import assets, live
from caravan_api.doors.web.entrance import by_session
from caravan_api.doors.web.headers import SafeHeaders
from caravan_api.doors.web.login import routes as login
from caravan_api.doors.web.origin import from_own_pages
from caravan_api.doors.web.problems import handle_errors
from caravan_api.doors.web.screens import (
    audit,
    cluster,
    clusters,
    create,
    dead_letters,
    grants,
    leases,
    machines,
    overview,
    pools,
)
from caravan_api.doors.web.screens.cluster_rows import Sketch
from caravan_api.doors.web.screens.settings import members, notifications, quotas, tokens
from caravan_api.latest import Latest
from caravan_api.written import MOST
from caravan_shared.plumbing.log import get_logger

_PARTS = (
    overview,
    clusters,
    create,
    leases,
    grants,
    machines,
    dead_letters,
    audit,
    members,
    quotas,
    tokens,
    notifications,
)
# `/clusters/new` stands before what takes any name.
SCREENS: Sequence[APIRouter] = (
    *(part.router for part in _PARTS),
    *pools.ROUTERS,
    *cluster.ROUTERS,
)
ROUTERS: Sequence[APIRouter] = (login.router, live.router, *SCREENS)

_SMALLEST_ZIPPED = 1024  # bytes; what is smaller fits into a packet anyway
_ZIPPED_HOW_MUCH = 4  # of 9: a page of 1,000 clusters in a few milliseconds

log = get_logger(__name__)


def build_web(api: Api, routers: Sequence[APIRouter] = ROUTERS) -> ASGIApp:
    """The ASGI app of all pages. Raises `RuntimeError` for a route without a role."""
    if open_to_all := routes_open_to_all(route for router in routers for route in api_routes(router)):
        raise RuntimeError(f"routes without a role: {', '.join(open_to_all)}")
    if missing := assets.missing():
        log.warning("pages will look bare: files are not installed, see `make install`", missing=missing)
    app = FastAPI(
        title="Caravan", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(from_own_pages)]
    )
    app.state.api = api
    app.state.entrance = by_session(api.sessions)
    app.state.sketches = Latest[Sketch](MOST)
    for router in routers:
        app.include_router(router)
    app.mount(assets.address(), _Kept(directory=assets.STATIC), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_ZIPPED, compresslevel=_ZIPPED_HOW_MUCH)
    handle_errors(app)
    return SafeHeaders(Guards(app, api.settings.body_limit_kib * 1024))


class _Kept(StaticFiles):
    """Files whose address changes with their contents: browsers ask for each once."""

    def file_response(self, *args: object, **more: object) -> Response:
        """As always, and to be kept."""
        response = super().file_response(*args, **more)  # type: ignore[arg-type]  # handed on as they came
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
