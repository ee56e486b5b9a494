"""Access of people across clusters: who has what, and taking back all that one person holds.

A person is the user of a token. Whoever shall get no new access either loses the tokens first: access that is asked for
before that and made after it is not handed out (`kubeconfigs.granted`), and what is made before is taken back here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Developer, Role, Viewer, valid_tokens
from caravan_api.doors.rest.context import After, Api, Limit, Page, Parts, Team, team_listed
from caravan_api.doors.rest.kubeconfigs import note_revoked
from caravan_api.grant_pages import cursor_of, newest_first
from caravan_api.pools.reach import is_within_reach, leased_by
from caravan_api.readmodel import ClustersGrantView, clusters_grant_view
from caravan_api.store import Cluster, Grant, Token
from caravan_shared.contracts.requests import AskRevokeAll, RevokedAll, TakenBack
from caravan_shared.plumbing.log import get_logger

router = APIRouter(prefix="/v1/grants", tags=["access"])
log = get_logger(__name__)


class GrantPage(Page):
    """A page of grants."""

    items: list[ClustersGrantView]


class RevokedGrant(BaseModel):
    """A grant that was taken back."""

    grant_id: UUID
    cluster_id: UUID
    cluster: str
    team: str
    role: str
    expires_at: datetime


class PendingGrant(RevokedGrant):
    """A grant that is being taken back: by itself, as soon as that is possible."""

    reason: str = Field(description="Why it still opens the cluster, or may.")


class RevokedAccess(BaseModel):
    """All that a person held."""

    user: str
    team: str | None = Field(description="The team whose own and leased clusters it was about; null: all teams.")
    revoked: list[RevokedGrant]
    pending: list[PendingGrant]
    more: int = Field(description="Further ones, taken back alike, for which there is no room here.")
    tokens: int = Field(description="Valid tokens with which the same person can ask for access to these clusters.")


@router.get("")
async def list_grants(
    caller: Viewer,
    api: Parts,
    team: Team = None,
    user: Annotated[str | None, Query(max_length=200, description="Whose.")] = None,
    limit: Limit = None,
    after: After = None,
) -> GrantPage:
    """Access to your team's clusters and those it leases (an admin's: all teams'), open and past, newest first."""
    statement = select(Grant, Cluster).join(Cluster, col(Cluster.id) == col(Grant.cluster_id))
    if (whose := team_listed(caller, team)) is not None:
        statement = statement.where(is_within_reach(whose, owner=Cluster.team, cluster=Cluster.id))
    if user is not None:
        statement = statement.where(Grant.user == user)
    size = limit or api.settings.page_size
    async with api.db.reading() as session:
        rows = (await session.exec(newest_first(statement, after).limit(size + 1))).all()
    now = api.clock.now()
    return GrantPage(
        items=[clusters_grant_view(grant, cluster, now) for grant, cluster in rows[:size]],
        next=cursor_of(rows[size - 1][0]) if len(rows) > size else None,
    )


@router.delete("")
async def revoke_all(
    caller: Developer,
    api: Parts,
    user: Annotated[str, Query(min_length=1, max_length=200, description="Whose.")],
    team: Team = None,
) -> RevokedAccess:
    """Take back all that a person holds on your team's clusters and those it leases (an admin's: on all).

    Asking again is fine.
    """
    whose = team_listed(caller, team)
    taken = await taken_back(api, user, whose)
    log.info("all access revoked", user=user, team=whose, by=caller.user, grants=len(taken.items) + taken.more)
    async with api.db.transaction() as tx:
        clusters = await _clusters(tx, {item.cluster_id for item in taken.items})
        tokens = await _tokens(tx, api, user, whose)
        for item in taken.items:
            note_revoked(tx, clusters[item.cluster_id], item.grant_id, user)
    known = [(item, clusters[item.cluster_id]) for item in taken.items]  # clusters are never dropped
    return RevokedAccess(
        user=user,
        team=whose,
        revoked=[_revoked(item, cluster) for item, cluster in known if item.pending is None],
        pending=[_pending(item, cluster, item.pending) for item, cluster in known if item.pending is not None],
        more=taken.more,
        tokens=tokens,
    )


async def taken_back(api: Api, user: str, team: str | None) -> RevokedAll:
    """Have dns take back what a person holds on a team's clusters and on those that it leases (None: on all)."""
    async with api.db.reading() as session:
        leased = await leased_by(session, team) if team else ()
    return await api.ask(AskRevokeAll(user=user, team=team, clusters=leased), RevokedAll)


async def _clusters(session: AsyncSession, ids: set[UUID]) -> dict[UUID, Cluster]:
    rows: Sequence[Cluster] = (await session.exec(select(Cluster).where(col(Cluster.id).in_(ids)))).all()
    return {cluster.id: cluster for cluster in rows}


async def _tokens(session: AsyncSession, api: Api, user: str, team: str | None) -> int:
    of_team = [] if team is None else [or_(col(Token.team) == team, col(Token.role) == Role.ADMIN.value)]
    return len(await valid_tokens(session, api.clock.now(), Token.user == user, *of_team))


def _revoked(item: TakenBack, cluster: Cluster) -> RevokedGrant:
    return RevokedGrant(cluster=cluster.name, team=cluster.team, **item.model_dump(exclude={"pending"}))


def _pending(item: TakenBack, cluster: Cluster, reason: str) -> PendingGrant:
    return PendingGrant(**_revoked(item, cluster).model_dump(), reason=reason)
