"""The list of clusters: searched, narrowed, sorted, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.doors.rest.context import After, Word
from caravan_api.doors.web.fields import searched, unless_blank
from caravan_api.doors.web.page import ViewerPage
from caravan_api.doors.web.screens.cluster_rows import Row, Shown, Sketch, drawn, sketched
from caravan_api.latest import Latest
from caravan_api.listing import Filters, Sort, columns_of
from caravan_api.pools.store import Lease
from caravan_api.seen import SEEN, state_of
from caravan_api.store import Cluster
from caravan_shared.contracts.spec import KubernetesVersion
from caravan_shared.contracts.states import ClusterPhase, Verdict

router = APIRouter(prefix="/clusters", tags=["clusters"])

_PAGE = 50
_MOST = 1000
"""Rows that a page may hold after somebody had it show more and more."""


_SHOWN: Any = sql_select(*(getattr(Cluster, name) for name in Shown._fields))
_GLANCE = (*SEEN, Cluster.pool_id, Cluster.accessed_at)
"""What tells whether a cluster is as it was: that somebody was given access is no change of it."""


async def _latest(request: Request) -> Latest[Sketch]:
    latest: Latest[Sketch] = request.app.state.sketches
    return latest


@router.get("")
async def list_clusters(
    page: ViewerPage,
    latest: Annotated[Latest[Sketch], Depends(_latest)],
    phase: Annotated[ClusterPhase | None, unless_blank] = None,
    health: Annotated[Verdict | None, unless_blank] = None,
    version: Annotated[KubernetesVersion | None, unless_blank] = None,
    cloud: Annotated[Word, unless_blank] = None,
    q: Annotated[str | None, Query(max_length=64), AfterValidator(searched)] = None,
    sort: Sort = Sort.AGE_DOWN,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = _PAGE,
) -> HTMLResponse:
    """A page of them."""
    filters = Filters(page.team, phase, health, version, cloud, q)
    async with page.api.db.reading() as session:
        listed = await columns_of(session, _GLANCE, filters, sort, limit, after)
        rows = await _rows(session, latest, listed.clusters)
        choices = await _choices(session, page.team)
    return page.show(
        "clusters/list.html",
        title="Clusters",
        rows=drawn(rows, page.now, page.url(""), with_team=page.team is None),
        shown=len(rows),
        next=listed.next,
        more=min(limit + _PAGE, _MOST),
        filters=filters,
        sort=sort,
        choices=choices,
    )


@dataclass(frozen=True, slots=True)
class Choices:
    """What a list can be narrowed to: what the clusters there really have."""

    versions: Sequence[str]
    clouds: Sequence[str]
    phases: Sequence[ClusterPhase] = tuple(ClusterPhase)
    verdicts: Sequence[Verdict] = tuple(Verdict)


async def _choices(session: AsyncSession, team: str | None) -> Choices:
    columns = (Cluster.version, Cluster.cloud)
    found = (await session.exec(select(*columns).where(*Filters(team).conditions()).distinct())).all()
    versions, clouds = ({each[place] for each in found} for place in range(len(columns)))
    return Choices(sorted(versions, key=_by_number, reverse=True), sorted(clouds))


def _by_number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


async def _rows(session: AsyncSession, latest: Latest[Sketch], clusters: Sequence[Any]) -> list[Row]:
    sketches = await _sketches(session, latest, clusters)
    leases = await _leases_of(session, [cluster.id for cluster in clusters if cluster.pool_id])
    return [_row(sketch, leases.get(cluster)) for cluster, sketch in sketches.items() if sketch]


async def _sketches(
    session: AsyncSession, latest: Latest[Sketch], clusters: Sequence[Any]
) -> dict[UUID, Sketch | None]:
    """Of each, in this order; None for one that is gone meanwhile."""
    states = {each.id: (state_of(each), each.accessed_at) for each in clusters}
    sketches = {cluster: latest.of(cluster, state) for cluster, state in states.items()}
    if missing := [cluster for cluster, sketch in sketches.items() if sketch is None]:
        for row in (await session.exec(_SHOWN.where(col(Cluster.id).in_(missing)))).all():
            sketches[row.id] = latest.keep(row.id, states[row.id], sketched(Shown._make(row)))
    return sketches


async def _leases_of(session: AsyncSession, clusters: Sequence[UUID]) -> dict[UUID, Lease]:
    """The open leases of these clusters, by cluster."""
    if not clusters:
        return {}
    statement = select(Lease).where(col(Lease.cluster_id).in_(clusters), col(Lease.ended_at).is_(None))
    return {lease.cluster_id: lease for lease in (await session.exec(statement)).all() if lease.cluster_id}


def _row(sketch: Sketch, lease: Lease | None) -> Row:
    return Row(sketch, lease.ends_at, lease.holder) if lease else Row(sketch)
