"""One cluster on a page: how far it is and what it waits for, what happened, its nodes, its health, who gets in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Role, Scope, opens
from caravan_api.admission import sleep_problems
from caravan_api.decide.nodes import NodeState
from caravan_api.doors.rest.context import After, find_cluster
from caravan_api.doors.rest.kubeconfigs import list_grants
from caravan_api.doors.rest.nodes import list_nodes
from caravan_api.doors.rest.timeline import timeline
from caravan_api.doors.web.fields import unless_blank
from caravan_api.doors.web.page import Page, ViewerPage
from caravan_api.doors.web.screens.cluster.access import LONGEST_H
from caravan_api.doors.web.screens.cluster.conditions import conditions
from caravan_api.doors.web.screens.cluster.history import columns
from caravan_api.doors.web.screens.cluster.steps import steps_of
from caravan_api.doors.web.screens.cluster.topology import topology
from caravan_api.fleet import IN_THE_MAKING
from caravan_api.offers import NothingOfferedYet, offered_clouds, offered_versions
from caravan_api.readmodel import ClusterView, cluster_view
from caravan_api.store import Cluster, Node, TimelineEntry
from caravan_api.tracelinks import trace_of
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET, NodeSetName
from caravan_shared.contracts.states import ClusterPhase

router = APIRouter(prefix="/clusters", tags=["clusters"])

_NODES = 50
_EVENTS = 20
_GRANTS = 20
_LOOKED_THROUGH = 200
"""Entries among which the steps of what was asked last are looked for."""
_CHARTED = 500


@dataclass(frozen=True, slots=True)
class Controls:
    """What the one who looks may do here: nothing else is shown."""

    change: bool
    access: bool
    sleep: bool
    """Put it to sleep: it is Ready, and its clouds can stop machines."""
    versions: Sequence[str]
    """What it can be upgraded to, newest first."""
    roles: Sequence[str]
    """Of a kubeconfig."""
    longest_h: int = LONGEST_H


@router.get("/{cluster}")
async def show_cluster(
    page: ViewerPage,
    cluster: str,
    node_set: Annotated[NodeSetName | None, unless_blank] = None,
    state: Annotated[NodeState | None, unless_blank] = None,
    nodes_after: After = None,
    events_after: After = None,
    grants_after: After = None,
) -> HTMLResponse:
    """The page of one cluster, by id or name."""
    async with page.api.db.reading() as session:
        found = await find_cluster(session, page.caller, cluster, page.named_team)
        latest = await _entries(session, found, _LOOKED_THROUGH)
        told = await _entries(session, found, _CHARTED, kind="health")
        members = await _members(session, found)
        controls = await _controls(session, page, found)
    trace = await trace_of(page.api.seeing, found.id, page.api.settings.trace_url)
    view, ref = cluster_view(found), str(found.id)
    asked = (page.caller, page.api, page.named_team)
    is_working = view.phase in IN_THE_MAKING
    return page.show(
        "cluster/cluster.html",
        title=found.name,
        cluster=view,
        trace=trace,
        is_gone=found.deleted_at is not None,
        is_working=is_working,
        controls=controls,
        conditions=[] if found.deleted_at else conditions(view),
        steps=steps_of(latest, page.now, is_working=is_working),
        chart=columns(found.verdicts, told, page.now),
        verdicts=[(each["verdict"], datetime.fromisoformat(each["since"])) for each in reversed(found.verdicts)],
        topology=topology(members, _endpoint(view), found.name) if members else None,
        nodes=await list_nodes(ref, *asked, node_set, state, _NODES, nodes_after),
        node_set=node_set,
        state=state,
        states=tuple(NodeState),
        events=await timeline(ref, *asked, _EVENTS, events_after),
        grants=await list_grants(ref, *asked, _GRANTS, grants_after) if _opens(page, Scope.ACCESS) else None,
        nodes_after=nodes_after,
        events_after=events_after,
        grants_after=grants_after,
    )


async def _entries(session: AsyncSession, cluster: Cluster, most: int, kind: str | None = None) -> list[TimelineEntry]:
    """The newest entries of its timeline, newest first."""
    statement = select(TimelineEntry).where(TimelineEntry.cluster_id == cluster.id)
    if kind:
        statement = statement.where(TimelineEntry.kind == kind)
    return list((await session.exec(statement.order_by(col(TimelineEntry.id).desc()).limit(most))).all())


async def _members(session: AsyncSession, cluster: Cluster) -> list[Node]:
    """Its control planes and etcd nodes, by name."""
    statement = select(Node).where(Node.cluster_id == cluster.id, col(Node.node_set).in_([CONTROL_PLANE_SET, ETCD_SET]))
    statement = statement.where(Node.state != NodeState.REMOVED.value).order_by(col(Node.name))
    return list((await session.exec(statement)).all())


async def _controls(session: AsyncSession, page: Page, cluster: Cluster) -> Controls:
    is_there = cluster.deletion_asked_at is None
    may_change = is_there and page.may("developer") and page.caller.sees(cluster.team)
    has_endpoint = bool((endpoint := cluster_view(cluster).endpoint) and endpoint.addresses)
    return Controls(
        change=may_change,
        sleep=may_change and await _can_sleep(session, cluster),
        access=is_there and has_endpoint and _opens(page, Scope.ACCESS),
        versions=await _newer_versions(session, cluster) if may_change else (),
        roles=("viewer",) if page.caller.role is Role.VIEWER else ("admin", "editor", "viewer"),
    )


async def _can_sleep(session: AsyncSession, cluster: Cluster) -> bool:
    spec, offers = cluster_view(cluster).spec, await offered_clouds(session)
    return cluster.phase == ClusterPhase.READY and not any(sleep_problems(spec, offers, "spec.cloud"))


async def _newer_versions(session: AsyncSession, cluster: Cluster) -> list[str]:
    try:
        offered = await offered_versions(session)
    except NothingOfferedYet:  # nothing can be upgraded meanwhile, and all else can be looked at
        return []
    wanted = cluster_view(cluster).spec.version
    return [version for version in offered if _number(version) > _number(wanted)]


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _opens(page: Page, scope: Scope) -> bool:
    return opens(page.caller.scopes, [scope])


def _endpoint(view: ClusterView) -> str:
    return f"{view.endpoint.host}:{view.endpoint.port}" if view.endpoint else "no endpoint yet"
