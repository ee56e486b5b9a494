"""Put the REST door together, and refuse to start if a route forgot to say who may use it."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from caravan_api.access import by_bearer, routes_open_to_all
from caravan_api.doors.chatops import routes as chat
from caravan_api.doors.rest import (
    audit,
    chat_links,
    clouds,
    clusters,
    dead_letters,
    doctor,
    grants,
    kubeconfigs,
    leases,
    login,
    machines,
    members,
    node_sets,
    nodes,
    notifications,
    offers,
    plans,
    pools,
    runs,
    teams,
    timeline,
    tokens,
)
from caravan_api.doors.rest.context import Api
from caravan_api.doors.rest.guards import Guards, only_known_parameters
from caravan_api.doors.rest.problems import MEDIA_TYPE, handle_errors
from caravan_api.errors import Problem

ROUTERS: Sequence[APIRouter] = tuple(
    part.router
    for part in (
        clusters,
        node_sets,
        nodes,
        timeline,
        runs,
        kubeconfigs,
        grants,
        pools,
        leases,
        plans,
        offers,
        clouds,
        machines,
        dead_letters,
        doctor,
        teams,
        members,
        tokens,
        audit,
        login,
        chat_links,
        notifications,
        chat,
    )
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "Refused, and why"},
    503: {"model": Problem, "description": "Not possible right now; try again after Retry-After"},
}


class RestDoor(FastAPI):
    """The REST API."""

    def openapi(self) -> dict[str, Any]:
        """OpenAPI 3.1, with the errors under their own media type."""
        if not self.openapi_schema:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    _name_media_type(operation["responses"])
        return self.openapi_schema or {}


def build_rest(api: Api, routers: Sequence[APIRouter] = ROUTERS) -> Guards:
    """The ASGI app of all routes. Raises `RuntimeError` for a route without a role."""
    app = RestDoor(
        title="Caravan",
        version="1",
        description="Kubernetes clusters on request.",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(only_known_parameters)],
        responses=_PROBLEMS,
    )
    app.state.api = api
    app.state.entrance = by_bearer(api.access)
    for router in routers:
        app.include_router(router)
    handle_errors(app)
    if open_to_all := routes_open_to_all(route for router in routers for route in api_routes(router)):
        raise RuntimeError(f"routes without a role: {', '.join(open_to_all)}")
    return Guards(app, api.settings.body_limit_kib * 1024)


def api_routes(router: APIRouter) -> list[APIRoute]:
    """The routes of a router."""
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _name_media_type(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status in ("4XX", "503"):
            response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
