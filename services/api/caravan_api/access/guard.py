"""What stands before every route: who is it, may they do that, and did no route forget to ask.

It also says on whose behalf whatever follows is done, for the audit.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from caravan_api.access.recognition import Access
from caravan_api.access.roles import Caller, Known, Role, Scope
from caravan_api.audit.actor import Actor, Door, act_as
from caravan_api.errors import Forbidden, Malformed, Refused, Unauthenticated
from caravan_shared.contracts.facts import FieldProblem

_ANYBODYS = "offers"


@dataclass(frozen=True, slots=True)
class Entrance:
    """How a door tells who comes in: `app.state.entrance` of the door's app."""

    door: Door
    recognise: Callable[[Request, str | None], Awaitable[Known | None]]
    """By the request and its bearer token, if it has one."""


_Dependency = TypeVar("_Dependency", bound=Callable[..., Any])
_bearer = HTTPBearer(auto_error=False, description="A token of your team.")


async def identify(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Known:
    """The dependency that lets in everybody whom the door recognises. Raises `Unauthenticated`, `Forbidden`."""
    known = await _entrance(request).recognise(request, credentials.credentials if credentials else None)
    if known is None:
        raise Unauthenticated
    _check_scopes(known.scopes, request.scope["route"].tags)
    return known


identify.needed_role = Role.VIEWER  # type: ignore[attr-defined]  # what `routes_open_to_all` looks for
Identified = Annotated[Known, Depends(identify)]


def by_bearer(access: Access) -> Entrance:
    """The entrance of those who send a token with each request."""

    async def recognise(_request: Request, bearer: str | None) -> Known | None:
        return await access.recognise(bearer) if bearer else None

    return Entrance(Door.REST, recognise)


def needs(role: Role) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """The dependency that lets in callers of at least this role in the team that the query names, or in their own."""

    async def caller(request: Request, known: Identified) -> Caller:
        found = known.within(request.query_params.get("team"))
        if found is None:
            raise _unclear(known)
        check_role(found, role)
        act_as(Actor(found.user, _entrance(request).door, str(request.state.trace_id)))
        return found

    caller.needed_role = role  # type: ignore[attr-defined]  # what `routes_open_to_all` looks for
    return caller


Viewer = Annotated[Caller, Depends(needs(Role.VIEWER))]
Developer = Annotated[Caller, Depends(needs(Role.DEVELOPER))]
Owner = Annotated[Caller, Depends(needs(Role.OWNER))]
Admin = Annotated[Caller, Depends(needs(Role.ADMIN))]


def public() -> None:
    """The dependency of a route that is meant for everybody: it says so, where all others name a role."""


def is_public(route: APIRoute) -> bool:
    """True for a route that says that it is meant for everybody."""
    return any(needed.call is public for needed in route.dependant.dependencies)


def check_role(caller: Caller, role: Role) -> None:
    """Raise `Forbidden` for a caller of a lesser role than this."""
    if not caller.role.includes(role):
        raise Forbidden(f"this needs the role {role}, and yours in the team {caller.team} is {caller.role}")


def checks_signature(dependency: _Dependency) -> _Dependency:
    """Mark a dependency that lets in what carries a valid signature, and nothing else; no bearer token is asked for."""
    dependency.checks_signature = True  # type: ignore[attr-defined]  # what `routes_open_to_all` looks for
    return dependency


def routes_open_to_all(routes: Iterable[APIRoute]) -> list[str]:
    """The routes that name no role, check no signature and are not meant for everybody: each is a defect."""
    return [
        f"{sorted(route.methods or ())} {route.path}"
        for route in routes
        if needed_role(route) is None and not is_signed(route) and not is_public(route)
    ]


def needed_role(route: APIRoute) -> Role | None:
    """The role that a route lets in at least; None if it names none."""
    role: Role | None = _marked(route.dependant, "needed_role")
    return role


def is_signed(route: APIRoute) -> bool:
    """True for a route that checks a signature of its own."""
    return bool(_marked(route.dependant, "checks_signature"))


def _marked(dependant: Dependant, mark: str) -> Any:
    """What a dependency of a route, or one of its own dependencies, is marked with; None if none is."""
    own = getattr(dependant.call, mark, None)
    return own or next(filter(None, (_marked(part, mark) for part in dependant.dependencies)), None)


def opens(scopes: frozenset[Scope], tags: Iterable[str]) -> bool:
    """True if a token that is limited to these areas is for routes with these tags."""
    return not scopes or not scopes.isdisjoint(tags) or _ANYBODYS in tags


def _entrance(request: Request) -> Entrance:
    entrance: Entrance = request.app.state.entrance
    return entrance


def _check_scopes(scopes: frozenset[Scope], tags: list[str]) -> None:
    if not opens(scopes, tags):
        raise Forbidden(f"your token is for {', '.join(sorted(scopes))} only")


def _unclear(known: Known) -> Refused:
    if not known.roles:
        return Forbidden(f"{known.user} belongs to no team yet: an owner of one adds members")
    problem = f"you belong to {', '.join(sorted(known.roles))}"
    return Malformed([FieldProblem(field="team", problem=problem, remedy="name the one that is meant: `?team=…`")])
