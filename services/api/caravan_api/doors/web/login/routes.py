"""Log in and out. Whoever comes to the sandbox from its own machine is let in at once."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from caravan_api.access import public
from caravan_api.doors.rest.context import Api, Parts
from caravan_api.doors.web import entrance
from caravan_api.doors.web.login.attempt import Attempt, LoginFailed, local
from caravan_api.doors.web.login.loopback import is_at_this_machine
from caravan_api.doors.web.page import shown
from caravan_api.errors import NotFound
from caravan_api.oidc.code_flow import CodeFlow
from caravan_api.oidc.signature import opened

router = APIRouter(tags=["login"], dependencies=[Depends(public)])

_ATTEMPT_LASTS = timedelta(minutes=10)
_LONGEST_TOKEN = 16384

Next = Annotated[str | None, Query(alias="next", max_length=2000)]


@router.get("/login")
async def login(request: Request, api: Parts, back_to: Next = None, out: bool = False) -> Response:
    """The ways to log in; for those on the sandbox's machine the way in, unless they have just gone out."""
    if _opens_by_itself(request, api) and not out:
        return await _let_in(request, api, _first_admin(api), local(back_to))
    return _form(request, api, back_to)


@router.post("/login")
async def by_token(
    request: Request,
    api: Parts,
    token: Annotated[str, Form(max_length=_LONGEST_TOKEN)],
    back_to: Annotated[str | None, Form(alias="next", max_length=2000)] = None,
) -> Response:
    """Log in with a token."""
    return await _let_in(request, api, token.strip(), local(back_to))


@router.post("/login/here")
async def at_this_machine(request: Request, api: Parts) -> Response:
    """Back in, for those on the sandbox's machine."""
    if not _opens_by_itself(request, api):
        raise NotFound("there is no such page")
    return await _let_in(request, api, _first_admin(api), "/")


@router.get("/login/issuer")
async def by_issuer(request: Request, api: Parts, back_to: Next = None) -> Response:
    """On to the issuer."""
    flow = _flow(api)
    attempt = Attempt.begun(f"{_base(request, api)}/login/callback", local(back_to))
    settings = api.settings
    address = attempt.address(await flow.endpoint(), settings.oidc_client_id, settings.oidc_scopes)
    answer = RedirectResponse(address, 303)
    entrance.keep_for_login(answer, request, attempt.written(), _ATTEMPT_LASTS.total_seconds())
    return answer


@router.get("/login/callback")
async def callback(request: Request, api: Parts) -> Response:
    """Back from the issuer."""
    attempt = Attempt.read(entrance.login_under_way(request))
    flow = _flow(api)
    code = attempt.code_in(request.query_params, flow.issuer)
    token = await flow.redeemed(attempt.grant(code, api.settings.oidc_client_id))
    if opened(token).claims.get("nonce") != attempt.nonce:  # what it says is proved by `_let_in`
        raise LoginFailed("the issuer's token is not for this login: begin anew")
    answer = await _let_in(request, api, token, attempt.back_to)
    entrance.keep_for_login(answer, request, "", 0)
    return answer


@router.post("/logout")
async def logout(request: Request, api: Parts) -> Response:
    """End the session, here and on the server."""
    if secret := entrance.secret_of(request):
        await api.sessions.close(secret)
    answer = RedirectResponse("/login?out=true", 303)
    entrance.forget(answer, request)
    return answer


async def _let_in(request: Request, api: Api, token: str, to: str) -> Response:
    """A session for whoever the token names, and on; or the form again."""
    secret = await api.sessions.open(token)
    if secret is None:
        return _form(request, api, to, problem="This token opens nothing here: it was never issued, or is over.")
    answer = RedirectResponse(to, 303)
    entrance.remember(answer, request, secret, api.sessions.lasts.total_seconds())
    return answer


def _form(request: Request, api: Api, back_to: str | None, problem: str | None = None) -> Response:
    return shown(
        request,
        "login/login.html",
        401 if problem else 200,
        title="Log in",
        back_to=local(back_to),
        has_issuer=api.login is not None,
        is_open=_opens_by_itself(request, api),
        problem=problem,
    )


def _flow(api: Api) -> CodeFlow:
    if api.login is None:
        raise NotFound("there is no issuer to log in with; an admin gives out tokens")
    return api.login


def _opens_by_itself(request: Request, api: Api) -> bool:
    peer = request.client.host if request.client else None
    return api.settings.web_opens_on_loopback and is_at_this_machine(peer, request.headers)


def _first_admin(api: Api) -> str:
    token = api.settings.bootstrap_token
    assert token, "the settings see to it"
    return token.get_secret_value()


def _base(request: Request, api: Api) -> str:
    return api.settings.web_url or f"{request.url.scheme}://{request.url.netloc}"
