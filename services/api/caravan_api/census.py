"""Count what there is, for Prometheus: clusters, nodes, spares, leases, dead letters. Totals: names are no labels.

Every replica counts the same, so dashboards take the highest.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import nats.errors
from prometheus_client import Gauge
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.pools import Bucket, count
from caravan_api.pools.sight import look, rules_of
from caravan_api.pools.store import Lease, Pool
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase, LeaseState, Verdict
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.streams import DEAD

_EVERY_S = 15.0

_CLUSTERS = Gauge("caravan_clusters", "Clusters that are not wholly deleted, by phase.", ["phase"])
_VERDICTS = Gauge("caravan_clusters_ready", "Clusters in the phase Ready, by verdict.", ["verdict"])
_NODES = Gauge("caravan_nodes_wanted", "Nodes of all clusters together.")
_SPARES = Gauge("caravan_pool_clusters", "Clusters of all pools together, by what they are to their pool.", ["bucket"])
_LEASES = Gauge("caravan_leases", "Leases that have not ended, by state.", ["state"])
_DEAD = Gauge("caravan_dead_letters", "Messages that no handler could take, until they are replayed or 30 days old.")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Census:
    """Counts now and then."""

    db: Database
    bus: Bus
    clock: Clock

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(_EVERY_S)

    async def count(self) -> None:
        """Count once."""
        async with self.db.reading() as session:
            await self._clusters(session)
            await self._pools(session)
        await self._dead_letters()

    async def _clusters(self, session: AsyncSession) -> None:
        numbers = select(Cluster.phase, Cluster.verdict, func.count(), func.sum(Cluster.nodes_wanted))
        live = numbers.where(col(Cluster.deleted_at).is_(None)).group_by(Cluster.phase, col(Cluster.verdict))
        phases: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        nodes = 0
        for phase, verdict, clusters, wanted in (await session.exec(live)).all():
            phases[phase] += clusters
            nodes += wanted
            if phase == ClusterPhase.READY:
                verdicts[verdict or Verdict.UNKNOWN] += clusters
        _set(_CLUSTERS, ClusterPhase, phases)
        _set(_VERDICTS, Verdict, verdicts)
        _NODES.set(nodes)

    async def _pools(self, session: AsyncSession) -> None:
        now, buckets = self.clock.now(), Counter[str]()
        for pool in (await session.exec(select(Pool).where(col(Pool.deleted_at).is_(None)))).all():
            sight = await look(session, pool)
            buckets.update(count(sight.clusters, sight.others, rules_of(pool, now), now))
        _set(_SPARES, Bucket, buckets)
        open_ones = select(Lease.state, func.count()).where(col(Lease.ended_at).is_(None)).group_by(Lease.state)
        _set(_LEASES, LeaseState, dict((await session.exec(open_ones)).all()))

    async def _dead_letters(self) -> None:
        try:
            _DEAD.set((await self.bus.js.stream_info(DEAD)).state.messages)
        except (nats.errors.Error, TimeoutError) as error:
            log.info("dead letters not counted", reason=str(error) or type(error).__name__)


def _set(gauge: Gauge, kinds: type[StrEnum], numbers: "Counter[str] | dict[str, int]") -> None:
    """Every kind has a number, if it is none: a line that is missing cannot be told from a zero."""
    for kind in kinds:
        gauge.labels(kind).set(numbers.get(kind, 0))
