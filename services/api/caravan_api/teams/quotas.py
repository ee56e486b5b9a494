"""How much a team may have, and how much it has.

Whoever is about to add something holds the team's row locked until it is counted, so that two requests at once do not
each fit by themselves. Teams without a quota wait for nobody.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.errors import NotFound
from caravan_api.pools.store import Lease
from caravan_api.store import Cluster
from caravan_api.teams.store import Team

_LEASE_LIMITS = select(Team.name, Team.max_leases).where(col(Team.name).in_(bindparam("teams", expanding=True)))
_LOCKED_LEASE_LIMITS = _LEASE_LIMITS.order_by(col(Team.name)).with_for_update()  # in one order, or two would deadlock


@dataclass(frozen=True, slots=True)
class Clusters:
    """How many clusters a team wants, and how many nodes in all of them."""

    clusters: int
    nodes: int


async def locked_team(tx: AsyncSession, name: str) -> Team:
    """The team, locked until the transaction ends if it has a quota. Raises `NotFound`."""
    team = await tx.get(Team, name)
    if team is None:
        raise NotFound(f"there is no team {name}")
    if team.has_quota:
        await tx.refresh(team, with_for_update=True)
    return team


async def clusters_of(session: AsyncSession, team: str) -> Clusters:
    """What the team has now."""
    counted = select(func.count(), func.coalesce(func.sum(Cluster.nodes_wanted), 0))
    wanted = counted.where(Cluster.team == team, col(Cluster.deletion_asked_at).is_(None))
    clusters, nodes = (await session.exec(wanted)).one()
    return Clusters(clusters, int(nodes))


async def open_leases(session: AsyncSession, team: str) -> int:
    """How many leases the team holds, keeps or waits for."""
    statement = select(func.count()).where(Lease.team == team, col(Lease.ended_at).is_(None))
    return (await session.exec(statement)).one()


async def leases_left(tx: AsyncSession, teams: Collection[str]) -> Mapping[str, int | None]:
    """How many leases each of the teams may have more, None where it has no limit; without those that do not exist.

    Those that have a limit stay locked until the transaction ends.
    """
    limits = (await tx.exec(_LEASE_LIMITS, params={"teams": list(teams)})).all()
    limited = [team for team, limit in limits if limit is not None]
    left: dict[str, int | None] = {team: None for team, limit in limits if limit is None}
    if limited:
        for team, limit in (await tx.exec(_LOCKED_LEASE_LIMITS, params={"teams": limited})).all():
            left[team] = None if limit is None else max(0, limit - await open_leases(tx, team))
    return left
