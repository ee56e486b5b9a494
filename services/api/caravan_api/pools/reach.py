"""What of other teams a team reaches: clusters that it leases, for as long as it does, and pools shared with it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, and_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.pools.spec import EVERY_TEAM
from caravan_api.pools.store import Lease, Pool, PoolShare


def is_within_reach(team: str | BindParameter[str], *, owner: Any, cluster: Any) -> ColumnElement[bool]:
    """The condition on a row about a cluster, whose owning team and id are in these columns."""
    return or_(owner == team, cluster.in_(_leased(team)))


def leased_to(teams: BindParameter[Any], cluster: Any) -> ColumnElement[bool]:
    """The condition on a lease that one of these teams holds it now, on the cluster whose id is in that column."""
    return and_(col(Lease.team).in_(teams), Lease.cluster_id == cluster, col(Lease.ended_at).is_(None))


async def leased_by(session: AsyncSession, team: str) -> tuple[UUID, ...]:
    """The clusters that a team leases now, of its own pools and of others'."""
    return tuple(each for each in (await session.exec(_leased(team))).all() if each)


def is_open_to(teams: Sequence[str] | BindParameter[Sequence[str]]) -> ColumnElement[bool]:
    """The condition on a pool that one of the teams may take from it."""
    shared = select(PoolShare.pool_id).where(or_(col(PoolShare.team).in_(teams), col(PoolShare.team) == EVERY_TEAM))
    return or_(col(Pool.team).in_(teams), col(Pool.id).in_(shared))


def _leased(team: str | BindParameter[str]) -> Any:
    is_open = (col(Lease.ended_at).is_(None), col(Lease.cluster_id).is_not(None))
    return select(Lease.cluster_id).where(Lease.team == team, *is_open)
