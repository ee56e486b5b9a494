"""The audit: who changed what, and who was let into which cluster."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from caravan_api.access import Owner, Viewer
from caravan_api.audit.actor import Door
from caravan_api.audit.recording import AUDITED, Action
from caravan_api.audit.store import AuditEntry
from caravan_api.doors.rest.context import After, Api, Limit, Page, Parts, Team, see_cluster, team_listed
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_api.store import Cluster, Grant

router = APIRouter(prefix="/v1", tags=["teams"])

_OF_CLUSTERS = tuple(AUDITED[table].kind for table in (Cluster, Grant))
Text = Annotated[str | None, Query(max_length=200)]


class AuditView(BaseModel):
    """One change by somebody."""

    id: int
    at: datetime
    team: str | None = Field(description="Null for what belongs to the installation.")
    actor: str
    door: Door
    trace_id: str = Field(description="Finds the request in the logs; empty for what came by itself.")
    action: Action
    kind: str
    ref: str = Field(description="Its id; of a kubeconfig the cluster's.")
    name: str
    before: dict[str, Any]
    after: dict[str, Any]


class AuditPage(Page):
    """A page of the audit, newest first."""

    items: list[AuditView]


@router.get("/audit")
async def audit(
    caller: Owner,
    api: Parts,
    team: Team = None,
    actor: Text = None,
    kind: Text = None,
    ref: Text = None,
    action: Action | None = None,
    since: Annotated[AwareDatetime | None, Query(description="From this moment on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this moment.")] = None,
    limit: Limit = None,
    after: After = None,
) -> AuditPage:
    """Every change in your team (an admin's: everywhere), newest first."""
    statement = select(AuditEntry)
    if (meant := team_listed(caller, team)) is not None:
        statement = statement.where(AuditEntry.team == meant)
    if since is not None:
        statement = statement.where(AuditEntry.at >= since)
    if until is not None:
        statement = statement.where(AuditEntry.at < until)
    wanted = {AuditEntry.actor: actor, AuditEntry.kind: kind, AuditEntry.ref: ref, AuditEntry.action: action}
    return await _page(api, statement, wanted, limit, after)


@router.get("/clusters/{cluster}/audit", tags=["clusters"])
async def cluster_audit(
    cluster: str, caller: Viewer, api: Parts, team: Team = None, limit: Limit = None, after: After = None
) -> AuditPage:
    """Who changed the cluster, and who was given access to it, newest first."""
    found = await see_cluster(api, caller, cluster, team)
    about = select(AuditEntry).where(col(AuditEntry.kind).in_(_OF_CLUSTERS))
    return await _page(api, about, {AuditEntry.ref: str(found.id)}, limit, after)


async def _page(
    api: Api,
    statement: SelectOfScalar[AuditEntry],
    wanted: Mapping[Any, str | None],
    limit: int | None,
    after: str | None,
) -> AuditPage:
    for column, value in wanted.items():
        statement = statement.where(column == value) if value is not None else statement
    if after:
        statement = statement.where(col(AuditEntry.id) < decode_cursor(after, int)[0])
    size = limit or api.settings.page_size
    async with api.db.reading() as session:
        rows = (await session.exec(statement.order_by(col(AuditEntry.id).desc()).limit(size + 1))).all()
    items = [AuditView.model_validate(row, from_attributes=True) for row in rows]
    return AuditPage(
        items=items[:size],
        next=encode_cursor(items[size - 1].id) if len(items) > size else None,
    )
