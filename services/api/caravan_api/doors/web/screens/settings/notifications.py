"""What a team has told to its chat: the rules, how well that goes."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from caravan_api.decide.notifications import Occasion
from caravan_api.doors.rest import notifications as rest
from caravan_api.doors.rest.bodies import SetNotification
from caravan_api.doors.rest.context import team_of
from caravan_api.doors.web.fields import body
from caravan_api.doors.web.page import OwnerPage, ViewerPage
from caravan_api.markup import Product
from caravan_shared.contracts.spec import DNS_LABEL

router = APIRouter(prefix="/settings/notifications", tags=["teams"])

Name = Annotated[str, Form(pattern=DNS_LABEL, max_length=32)]
Text = Annotated[str | None, Form()]


@router.get("")
async def list_notifications(page: ViewerPage) -> HTMLResponse:
    """The rules of the team that is looked at."""
    listed = await rest.list_notifications(page.caller, page.api, page.named_team)
    return page.show(
        "settings/notifications.html",
        title="Notifications",
        of_team=team_of(page.caller, page.named_team),
        rules=listed.items,
        products=tuple(Product),
        occasions=tuple(Occasion),
    )


@router.post("")
async def put(
    page: OwnerPage,
    name: Name,
    product: Annotated[Product, Form()],
    url: Annotated[str, Form()],
    occasions: Annotated[list[str] | None, Form()] = None,
    channel: Text = None,
    pool: Text = None,
    cluster: Text = None,
) -> Response:
    """Have something told, or told otherwise."""
    wish = body(
        SetNotification,
        product=product,
        url=url,
        occasions=occasions or [],
        channel=channel,
        pool=pool,
        cluster=cluster,
    )
    rule = await rest.put(name, wish, page.caller, page.api, page.named_team)
    return page.done(f"{rule.name} is told from now on")


@router.post("/remove")
async def remove(page: OwnerPage, name: Name) -> Response:
    """Have it told no more."""
    await rest.remove(name, page.caller, page.api, page.named_team)
    return page.done(f"{name} is told no more")
