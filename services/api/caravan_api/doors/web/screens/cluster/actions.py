"""What can be done with a cluster, each by the function that REST does it with."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from caravan_api.doors.rest import clusters, node_sets, nodes
from caravan_api.doors.rest.bodies import ChangeCluster, LimitLifetime, ReplaceNode, ScaleNodeSet
from caravan_api.doors.rest.context import see_cluster
from caravan_api.doors.web.fields import confirmed, unless_blank
from caravan_api.doors.web.page import DeveloperPage, Page

router = APIRouter(prefix="/clusters/{cluster}", tags=["clusters"])

_AS_IT_IS = "*"
"""If-Match for what somebody asks of one field that they see, whatever else was changed meanwhile."""
_HOUR_S = 3600
_LONGEST_H = 10 * 365 * 24


@router.post("/scale")
async def scale(
    page: DeveloperPage, cluster: str, node_set: Annotated[str, Form()], count: Annotated[int, Form(ge=0, le=5000)]
) -> Response:
    """Another number of nodes in one set."""
    body = ScaleNodeSet(count=count)
    await node_sets.scale(cluster, node_set, body, page.request, page.caller, page.api, team=page.named_team)
    return page.done(f"{node_set} will have {count} node{'' if count == 1 else 's'}.")


@router.post("/upgrade")
async def upgrade(page: DeveloperPage, cluster: str, version: Annotated[str, Form(max_length=32)]) -> Response:
    """Another Kubernetes version."""
    await _change(page, cluster, {"version": version})
    return page.done(f"It will run Kubernetes {version}: one node after the other.")


@router.post("/pause")
async def pause(page: DeveloperPage, cluster: str, paused: Annotated[bool, Form()]) -> Response:
    """Start nothing new on it, or go on."""
    await _change(page, cluster, {"paused": paused})
    return page.done("Nothing new is started until it is resumed." if paused else "Work on it goes on.")


@router.post("/hibernate")
async def hibernate(page: DeveloperPage, cluster: str) -> Response:
    """Stop its machines until it is woken."""
    await clusters.hibernate(cluster, page.request, page.caller, page.api, team=page.named_team)
    return page.done("Its machines are being stopped; disks, names and addresses are kept.")


@router.post("/wake")
async def wake(page: DeveloperPage, cluster: str) -> Response:
    """Start its machines again."""
    await clusters.wake(cluster, page.request, page.caller, page.api, team=page.named_team)
    return page.done("Its machines are being started.")


@router.post("/replace")
async def replace(
    page: DeveloperPage,
    cluster: str,
    node: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Another node in one's place."""
    body = ReplaceNode(reason=reason or None)
    await nodes.replace(cluster, node, page.request, page.caller, page.api, body, team=page.named_team)
    return page.done(f"{node} will be replaced.")


@router.post("/retry")
async def retry(page: DeveloperPage, cluster: str) -> Response:
    """Lift its failures."""
    await clusters.retry(cluster, page.request, page.caller, page.api, team=page.named_team)
    return page.done("Every service tries again.")


@router.post("/lifetime")
async def limit_lifetime(
    page: DeveloperPage,
    cluster: str,
    hours: Annotated[float | None, unless_blank, Form(ge=0.1, le=_LONGEST_H, allow_inf_nan=False)] = None,
) -> Response:
    """How long it lives from now on; without hours for ever."""
    body = LimitLifetime(lifetime_s=int(hours * _HOUR_S) if hours else None)
    await clusters.limit_lifetime(cluster, body, page.request, page.caller, page.api, team=page.named_team)
    return page.done("It lives so long from now." if hours else "It lives until somebody deletes it.")


@router.post("/delete")
async def delete(page: DeveloperPage, cluster: str, confirm: Annotated[str, Form(max_length=64)]) -> Response:
    """Let it go, once its name was typed."""
    name = confirmed(confirm, (await see_cluster(page.api, page.caller, cluster, page.named_team)).name)
    await clusters.delete(cluster, page.request, page.caller, page.api, team=page.named_team)
    return page.done(f"{name} is being deleted.")


async def _change(page: Page, cluster: str, patch: dict[str, object]) -> None:
    body = ChangeCluster(spec=patch)
    await clusters.change(cluster, body, page.request, page.caller, page.api, _AS_IT_IS, team=page.named_team)
