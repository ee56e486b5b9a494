"""The routes that Slack and Mattermost call. Each request is signed; who has none is told nothing."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader

from caravan_api.access import checks_signature
from caravan_api.doors.chatops import conversation, mattermost, slack
from caravan_api.doors.chatops.integrations import Integration, SlackApp
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.rest.context import Api, Parts
from caravan_api.doors.rest.problems import trace_of
from caravan_api.errors import Unsigned

router = APIRouter(prefix="/chat/{integration}", tags=["chat"])

_slack = APIKeyHeader(name=slack.SIGNATURE, scheme_name="SlackSignature", auto_error=False)
_mattermost = APIKeyHeader(name=mattermost.TOKEN, scheme_name="MattermostToken", auto_error=False)
_SIGNATURES = [Depends(_slack), Depends(_mattermost)]  # read by each product's own rules; named here for OpenAPI


@checks_signature
async def _typed(integration: str, request: Request, api: Parts) -> Said:
    app, headers, body = _app(api, integration), request.headers, await request.body()
    if isinstance(app, SlackApp):
        said = slack.command(app, integration, headers, body, api.clock.now())
    else:
        said = mattermost.command(app, integration, headers, body)
    await conversation.hear_once(api.db, said, api.clock.now())
    return said


@checks_signature
async def _pressed(integration: str, request: Request, api: Parts) -> Said:
    app, headers, body = _app(api, integration), request.headers, await request.body()
    if isinstance(app, SlackApp):
        said = slack.action(app, integration, headers, body, api.clock.now())
    else:
        said = mattermost.action(app, integration, body, api.clock.now())
    await conversation.hear_once(api.db, said, api.clock.now())
    return said


@router.post("", dependencies=_SIGNATURES, response_class=JSONResponse)
async def command(said: Annotated[Said, Depends(_typed)], request: Request, api: Parts) -> Any:
    """A slash command, as Slack or Mattermost sends it; answered to its author alone."""
    answer = await conversation.answer(api, said, trace_of(request))
    app = _app(api, said.integration)
    if isinstance(app, SlackApp):
        return slack.shown(answer)
    return mattermost.shown(app, said.integration, answer, said.chat_user, api.clock.now())


@router.post("/actions", dependencies=_SIGNATURES, response_class=JSONResponse)
async def action(said: Annotated[Said, Depends(_pressed)], request: Request, api: Parts) -> Any:
    """A pressed button, as Slack or Mattermost sends it."""
    answer = await conversation.answer(api, said, trace_of(request))
    if isinstance(_app(api, said.integration), SlackApp):
        async with api.db.transaction() as tx:
            api.replies.answer(tx, said, answer)
        return {}
    return mattermost.shown_after_press(answer)


def _app(api: Api, integration: str) -> Integration:
    app = api.settings.chat.get(integration)
    if app is None:
        raise Unsigned
    return app
