"""Machines that stand there already: how each is, whose it is; let one out of quarantine."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response
from sqlmodel import col, select

from caravan_api.doors.rest import machines as rest
from caravan_api.doors.rest.context import After, Word
from caravan_api.doors.web.fields import unless_blank
from caravan_api.doors.web.page import AdminPage
from caravan_api.store import Cluster
from caravan_shared.contracts.states import InventoryState

router = APIRouter(prefix="/machines", tags=["machines"])


@router.get("")
async def list_machines(
    page: AdminPage,
    cloud: Annotated[Word, unless_blank] = None,
    machine_type: Annotated[Word, unless_blank] = None,
    state: Annotated[InventoryState | None, unless_blank] = None,
    after: After = None,
) -> HTMLResponse:
    """The machines of all inventories, by name."""
    listed = await rest.list_machines(page.caller, page.api, cloud, machine_type, state, after=after)
    ids = {machine.cluster_id for machine in listed.items if machine.cluster_id}
    async with page.api.db.reading() as session:
        rows = await session.exec(select(Cluster.id, Cluster.name).where(col(Cluster.id).in_(ids)))
        clusters = dict(rows.all())
    return page.show(
        "machines/list.html",
        title="Machines",
        machines=listed.items,
        next=listed.next,
        clusters=clusters,
        cloud=cloud,
        machine_type=machine_type,
        state=state,
        states=tuple(InventoryState),
        is_narrowed=any((cloud, machine_type, state)),
    )


@router.post("/{name}/release")
async def release(
    page: AdminPage, name: str, etag: Annotated[str, Form()], wipe: Annotated[bool, Form()] = False
) -> Response:
    """Let one out of quarantine as it was seen: checked, and wiped before that if so asked."""
    wish = rest.ReleaseMachine(wipe=wipe)
    await rest.release(name, wish, page.request, page.caller, page.api, if_match=etag)
    return page.done(f"{name} is {'wiped and ' if wipe else ''}checked, and available if all is well")
