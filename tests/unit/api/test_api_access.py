"""Roles, and the check that every route names one."""

import pytest
from fastapi import APIRouter, Depends

from caravan_api.access import Role, Viewer, checks_signature, is_public, public, routes_open_to_all
from caravan_api.doors.rest.app import ROUTERS, api_routes


@pytest.mark.parametrize(
    ("role", "other", "includes"),
    [
        ("viewer", "developer", False),
        ("developer", "viewer", True),
        ("admin", "developer", True),
        ("viewer", "viewer", True),
    ],
)
def test_a_role_includes_the_lesser_ones(role: str, other: str, includes: bool) -> None:
    assert Role(role).includes(Role(other)) is includes


def test_every_route_names_a_role_or_checks_a_signature_or_says_that_it_is_public() -> None:
    routes = [route for router in ROUTERS for route in api_routes(router)]
    assert len(routes) > 20
    assert routes_open_to_all(routes) == []
    assert [route.path for route in routes if is_public(route)] == ["/v1/login"]


def test_a_route_without_either_is_found() -> None:
    router = APIRouter()

    @router.get("/open")
    def open_to_all() -> None: ...

    @router.get("/closed")
    def closed(_caller: Viewer) -> None: ...

    @router.get("/public", dependencies=[Depends(public)])
    def told_to_everybody() -> None: ...

    @checks_signature
    def signature() -> None: ...

    @router.get("/signed", dependencies=[Depends(signature)])
    def signed() -> None: ...

    assert routes_open_to_all(api_routes(router)) == ["['GET'] /open"]
