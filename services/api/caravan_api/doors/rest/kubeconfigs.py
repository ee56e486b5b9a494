"""Access to a cluster: ask for a kubeconfig, see who has one, take it back. dns signs and revokes."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Developer, Role, Viewer
from caravan_api.audit.recording import Action, Thing, note
from caravan_api.desired import SOURCE
from caravan_api.doors.rest.bodies import AskAccess
from caravan_api.doors.rest.context import After, Api, Limit, Page, Parts, Team, find_cluster, see_cluster
from caravan_api.errors import Conflict, Forbidden, NotYet, Unauthenticated
from caravan_api.grant_pages import cursor_of, newest_first
from caravan_api.readmodel import GrantView, cluster_view, grant_view
from caravan_api.recorder import lock_cluster
from caravan_api.store import Cluster, Grant
from caravan_shared.contracts.events import KubeconfigIssued
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke, Kubeconfig, Revoked

router = APIRouter(prefix="/v1/clusters/{cluster}", tags=["access"])


class IssuedKubeconfig(BaseModel):
    """A kubeconfig: keep it to yourself; it is not shown again."""

    grant_id: UUID
    kubeconfig: str
    expires_at: datetime


class Grants(Page):
    """A page of the access that was granted to a cluster."""

    items: list[GrantView]


@router.post("/kubeconfig")
async def issue(
    cluster: str, body: AskAccess, response: Response, caller: Viewer, api: Parts, team: Team = None
) -> IssuedKubeconfig:
    """Get a kubeconfig of your own, short-lived and revocable. Viewers get viewers' ones."""
    async with api.db.reading() as session:
        found = await find_cluster(session, caller, cluster, team)
    response.headers["Cache-Control"] = "no-store"
    return await granted(api, found, caller, body)


async def granted(api: Api, cluster: Cluster, caller: Caller, body: AskAccess) -> IssuedKubeconfig:
    """A kubeconfig for the caller, written down. Raises `Forbidden`, `Conflict`, `Unauthenticated`, `Retry`, `GiveUp`.

    Whoever's token was revoked meanwhile gets none: else one could slip past the revocation of all their access, which
    takes back what dns has on record, in the moment before dns hears of it.
    """
    _check(cluster, caller, body)
    wish = AskKubeconfig(cluster_id=cluster.id, user=caller.user, role=body.role, ttl_s=body.ttl_s)
    issued = await api.ask(wish, Kubeconfig)
    fact = KubeconfigIssued(
        cluster_id=cluster.id,
        grant_id=issued.grant_id,
        user=caller.user,
        role=body.role,
        expires_at=issued.expires_at,
    )
    async with api.db.transaction() as tx:
        locked = await lock_cluster(tx, cluster.id)
        assert locked is not None, "clusters are never dropped"
        await api.handlers.record_grant(tx, locked, fact, api.clock.now(), SOURCE)
    if not await api.access.still_knows(caller):
        await api.ask(AskRevoke(cluster_id=cluster.id, grant_id=issued.grant_id), Revoked)
        raise Unauthenticated
    return IssuedKubeconfig(grant_id=issued.grant_id, kubeconfig=issued.kubeconfig, expires_at=issued.expires_at)


@router.get("/grants")
async def list_grants(
    cluster: str, caller: Viewer, api: Parts, team: Team = None, limit: Limit = None, after: After = None
) -> Grants:
    """Who was granted access, newest first, page by page."""
    size = limit or api.settings.page_size
    found = await see_cluster(api, caller, cluster, team)
    statement = newest_first(select(Grant).where(Grant.cluster_id == found.id), after)
    async with api.db.reading() as session:
        rows = (await session.exec(statement.limit(size + 1))).all()
    return Grants(
        items=[grant_view(row) for row in rows[:size]], next=cursor_of(rows[size - 1]) if len(rows) > size else None
    )


@router.delete("/grants/{grant_id}", status_code=204)
async def revoke(cluster: str, grant_id: UUID, caller: Developer, api: Parts, team: Team = None) -> None:
    """Take an access back: the kubeconfig opens nothing from then on."""
    async with api.db.reading() as session:
        found = await find_cluster(session, caller, cluster, team)
    await api.ask(AskRevoke(cluster_id=found.id, grant_id=grant_id), Revoked)
    async with api.db.transaction() as tx:
        grant = await tx.get(Grant, grant_id)
        note_revoked(tx, found, grant_id, grant.user if grant else "")


def note_revoked(tx: AsyncSession, cluster: Cluster, grant_id: UUID, user: str) -> None:
    """Have the audit tell who took access to a cluster back; `user` held it."""
    thing = Thing("kubeconfig", str(cluster.id), user, cluster.team)
    note(tx, thing, Action.DELETE, {"grant_id": grant_id, "user": user})


def _check(cluster: Cluster, caller: Caller, body: AskAccess) -> None:
    if caller.role is Role.VIEWER and body.role != "viewer":
        raise Forbidden("a viewer gets a kubeconfig with the role viewer only")
    if cluster.deletion_asked_at:
        raise Conflict(f"the cluster {cluster.name} is being deleted")
    if cluster.asleep:
        raise Conflict(f"the cluster {cluster.name} is asleep: wake it first")
    endpoint = cluster_view(cluster).endpoint
    if endpoint is None or not endpoint.addresses:
        raise NotYet(f"the cluster {cluster.name} has no kube-apiserver yet: wait until its first control plane is up")
