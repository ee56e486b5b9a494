"""All of a team's clusters in one look: how many are how, what is wrong now, what is being done, what happened last."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.listing import Filters
from caravan_api.pools.reach import is_within_reach
from caravan_api.readmodel import ClusterView, cluster_view
from caravan_api.store import Cluster, TimelineEntry
from caravan_shared.contracts.states import ClusterPhase, Verdict

IN_THE_MAKING = (
    ClusterPhase.REQUESTED,
    ClusterPhase.PROVISIONING,
    ClusterPhase.BOOTSTRAPPING,
    ClusterPhase.UPDATING,
    ClusterPhase.HIBERNATING,
    ClusterPhase.WAKING,
    ClusterPhase.DELETING,
)
"""Phases in which Caravan works on a cluster."""

_WRONG = (Verdict.DEGRADED, Verdict.UNREACHABLE)
_AT_MOST = 50  # of each kind that are told one by one: more are for the list
_LATEST = 12


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the overview tells."""

    phases: Counter[str]
    verdicts: Counter[str]
    nodes_wanted: int
    nodes_ready: int
    wrong: Sequence[ClusterView]
    making: Sequence[ClusterView]
    latest: Sequence[tuple[TimelineEntry, str]]
    """What happened last, newest first, each with its cluster's name."""

    @property
    def clusters(self) -> int:
        """How many there are."""
        return self.phases.total()

    @property
    def in_the_making(self) -> int:
        """How many Caravan works on."""
        return sum(self.phases[phase] for phase in IN_THE_MAKING)


async def fleet(session: AsyncSession, team: str | None) -> Fleet:
    """The fleet of a team with what it leases; of all teams for None."""
    conditions = Filters(team).conditions()
    rows = (
        await session.exec(
            select(Cluster.phase, Cluster.verdict, Cluster.nodes_wanted, Cluster.node_sets).where(*conditions)
        )
    ).all()
    is_wrong = or_(col(Cluster.phase) == ClusterPhase.FAILED, col(Cluster.verdict).in_(_WRONG))
    return Fleet(
        phases=Counter(phase for phase, _, _, _ in rows),
        verdicts=Counter(verdict or Verdict.UNKNOWN for phase, verdict, _, _ in rows if phase in _EXPECTED_TO_RUN),
        nodes_wanted=sum(wanted for _, _, wanted, _ in rows),
        nodes_ready=sum(node_set.get("ready", 0) for _, _, _, node_sets in rows for node_set in node_sets),
        wrong=await _told(session, *conditions, is_wrong, col(Cluster.phase) != ClusterPhase.DELETING),
        making=await _told(session, *conditions, col(Cluster.phase).in_(IN_THE_MAKING)),
        latest=await _latest(session, team),
    )


_EXPECTED_TO_RUN = (ClusterPhase.READY, ClusterPhase.UPDATING)


async def _told(session: AsyncSession, *conditions: object) -> list[ClusterView]:
    statement = select(Cluster).where(*conditions).order_by(col(Cluster.updated_at).desc()).limit(_AT_MOST)  # type: ignore[arg-type]
    return [cluster_view(cluster) for cluster in (await session.exec(statement)).all()]


async def _latest(session: AsyncSession, team: str | None) -> Sequence[tuple[TimelineEntry, str]]:
    statement = select(TimelineEntry, Cluster.name).join(Cluster, col(Cluster.id) == TimelineEntry.cluster_id)
    if team is not None:
        reach = is_within_reach(team, owner=TimelineEntry.team, cluster=TimelineEntry.cluster_id)
        statement = statement.where(reach)
    return (await session.exec(statement.order_by(col(TimelineEntry.id).desc()).limit(_LATEST))).all()
