"""Access to a cluster: a kubeconfig as a file, and taking an access back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import Response

from caravan_api.doors.rest import kubeconfigs
from caravan_api.doors.rest.bodies import LONGEST_ACCESS_S, AskAccess
from caravan_api.doors.rest.context import find_cluster
from caravan_api.doors.web.page import DeveloperPage, ViewerPage

router = APIRouter(prefix="/clusters/{cluster}", tags=["access"])

_HOUR_S = 3600
LONGEST_H = LONGEST_ACCESS_S // _HOUR_S


@router.post("/kubeconfig")
async def kubeconfig(
    page: ViewerPage,
    cluster: str,
    role: Annotated[str, Form(pattern="^(viewer|editor|admin)$")] = "viewer",
    hours: Annotated[int, Form(ge=1, le=LONGEST_H)] = 1,
) -> Response:
    """A kubeconfig of one's own, as a file."""
    async with page.api.db.reading() as session:
        found = await find_cluster(session, page.caller, cluster, page.named_team)
    asked = AskAccess.model_validate({"role": role, "ttl_s": hours * _HOUR_S})
    issued = await kubeconfigs.granted(page.api, found, page.caller, asked)
    headers = {
        "Content-Disposition": f'attachment; filename="{found.name}.kubeconfig"',
        "Cache-Control": "no-store",
    }
    return Response(issued.kubeconfig, media_type="application/yaml", headers=headers)


@router.post("/revoke")
async def revoke(page: DeveloperPage, cluster: str, grant: Annotated[UUID, Form()]) -> Response:
    """Take an access back."""
    await kubeconfigs.revoke(cluster, grant, page.caller, page.api, team=page.named_team)
    return page.done("The access is taken back: that kubeconfig opens nothing any more.")
