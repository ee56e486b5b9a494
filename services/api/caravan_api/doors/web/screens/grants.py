"""Access of people: who can get into which cluster until when; take one back, or all that somebody holds."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response

from caravan_api.doors.rest import grants as rest
from caravan_api.doors.rest import kubeconfigs
from caravan_api.doors.rest.context import After
from caravan_api.doors.web.fields import unless_blank
from caravan_api.doors.web.page import DeveloperPage, ViewerPage
from caravan_api.doors.web.words import counted

router = APIRouter(prefix="/grants", tags=["access"])


@router.get("")
async def list_grants(
    page: ViewerPage,
    user: Annotated[str | None, Query(max_length=200), unless_blank] = None,
    after: After = None,
) -> HTMLResponse:
    """Kubeconfigs that were given out, open and past, newest first."""
    listed = await rest.list_grants(page.caller, page.api, page.named_team, user, after=after)
    return page.show("grants/list.html", title="Access", grants=listed.items, next=listed.next, user=user)


@router.post("/{cluster}/{grant_id}/revoke")
async def revoke(page: DeveloperPage, cluster: str, grant_id: UUID) -> Response:
    """Take one back."""
    await kubeconfigs.revoke(cluster, grant_id, page.caller, page.api, page.named_team)
    return page.done("Taken back: the kubeconfig opens nothing any more")


@router.post("/revoke")
async def revoke_all(page: DeveloperPage, user: Annotated[str, Form(min_length=1, max_length=200)]) -> Response:
    """Take all back that somebody holds."""
    taken = await rest.revoke_all(page.caller, page.api, user, page.named_team)
    revoked = counted(len(taken.revoked) + taken.more, "kubeconfig")
    pending = f"; {len(taken.pending)} more as soon as their clusters answer" if taken.pending else ""
    tokens = f". {user} still has {counted(taken.tokens, 'token')} to ask for new ones with" if taken.tokens else ""
    return page.done(f"{revoked} of {user} taken back{pending}{tokens}")
