"""How much a team may have, and how much it has.

Whoever is about to add something holds the team's row locked until it is counted, so that two requests at once do not
each fit by themselves. Teams without a quota wait for nobody.
"""

from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.errors import Conflict, NotFound
from caravan_api.pools.store import Lease
from caravan_api.store import Cluster
from caravan_api.teams.store import Team


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


async def check_lease_fits(tx: AsyncSession, name: str) -> None:
    """Raise `Conflict` if the team has as many leases as it may."""
    team = await locked_team(tx, name)
    if team.max_leases is not None and await open_leases(tx, name) >= team.max_leases:
        raise Conflict(
            f"your team has {team.max_leases} leases, held or waited for, and may have no more: give one back"
        )
