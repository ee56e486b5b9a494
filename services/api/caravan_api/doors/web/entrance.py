"""Who comes in at the web door: whoever the cookie of an open session names."""

from fastapi import Request
from fastapi.responses import Response

from caravan_api.access import Entrance, Known, Sessions
from caravan_api.audit.actor import Door
from caravan_shared.plumbing.errors import CaravanError

_TEAM_COOKIE = "caravan-team"
_ATTEMPT_COOKIE = "caravan-login"
_A_YEAR_S = 365 * 86400


class TeamUnclear(CaravanError):
    """Somebody in several teams opened a page that is about one."""

    def __init__(self, teams: list[str]) -> None:
        super().__init__(f"you belong to {', '.join(teams)}")
        self.teams = teams


def by_session(sessions: Sessions) -> Entrance:
    """The entrance of those who logged in. A bearer token opens nothing here: scripts have REST."""

    async def recognise(request: Request, _bearer: str | None) -> Known | None:
        secret = secret_of(request)
        known = await sessions.recognise(secret) if secret else None
        if known and len(known.roles) > 1 and not known.is_admin and not request.query_params.get("team"):
            raise TeamUnclear(sorted(known.roles))
        return known

    return Entrance(Door.WEB, recognise)


def secret_of(request: Request) -> str | None:
    """What the session's cookie holds."""
    return request.cookies.get(_cookie(request))


def remember(response: Response, request: Request, secret: str, lasts_s: float) -> None:
    """Give the browser its session."""
    _set(response, request, _cookie(request), secret, lasts_s)


def forget(response: Response, request: Request) -> None:
    """Have the browser forget its session."""
    _set(response, request, _cookie(request), "", 0)


def last_team(request: Request) -> str | None:
    """The team that the user looked at last, in this browser."""
    return request.cookies.get(_TEAM_COOKIE)


def remember_team(response: Response, request: Request, team: str) -> None:
    """Have the browser remember which team is looked at."""
    _set(response, request, _TEAM_COOKIE, team, _A_YEAR_S)


def keep_for_login(response: Response, request: Request, attempt: str, lasts_s: float) -> None:
    """Have the browser keep a login that is under way; nothing for no time to forget it."""
    _set(response, request, _ATTEMPT_COOKIE, attempt, lasts_s)


def login_under_way(request: Request) -> str | None:
    """The login that is under way in this browser."""
    return request.cookies.get(_ATTEMPT_COOKIE)


def _set(response: Response, request: Request, name: str, value: str, lasts_s: float) -> None:
    # Lax, not Strict: somebody who follows a link from a chat, or comes back from the issuer, is still logged in.
    is_private = _is_private(request)
    response.set_cookie(name, value, int(lasts_s), path="/", secure=is_private, httponly=True, samesite="lax")


def _cookie(request: Request) -> str:
    """Its name. Browsers take `__Host-` only over TLS and for this very host; without TLS, where ports of one machine
    share their cookies, the port keeps two stacks apart.
    """
    return "__Host-caravan" if _is_private(request) else f"caravan-{request.url.port or 80}"


def _is_private(request: Request) -> bool:
    return request.url.scheme == "https"
