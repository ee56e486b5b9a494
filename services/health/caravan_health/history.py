"""Keep history small: sum changes of verdict up by the hour, then forget what is older than it needs to be."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health.rollup import hour_of, seconds_by_verdict, whole_hours
from caravan_health.settings import Settings
from caravan_health.store import ClusterHealth, HealthHour, Replica, Transition, Watched, WatchedNode
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, upsert
from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_EVERY_S = 300.0
_CLUSTERS_AT_ONCE = 200
_TOMBSTONES_KEPT = timedelta(days=7)  # longer than any event may be late
_REPLICAS_KEPT = timedelta(days=1)
_COLUMNS = {verdict: f"{verdict.lower()}_s" for verdict in Verdict}


class History:
    """Sums up and forgets, a few times an hour."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        self._db, self._clock, self._settings = db, clock, settings

    async def run(self) -> None:
        """Tidy until cancelled."""
        while True:
            try:
                await self.tidy()
            except (StoreAway, SQLAlchemyError) as error:
                log.error("history not tidied this time", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def tidy(self) -> None:
        """Sum up every hour that is over, then forget."""
        now = self._clock.now()
        while await self._sum_up_some(now):
            pass
        async with self._db.transaction() as tx:
            await self._forget(tx, now)

    async def _sum_up_some(self, now: datetime) -> int:
        async with self._db.transaction() as tx:
            behind = select(ClusterHealth).where(col(ClusterHealth.rolled_up_to) < hour_of(now))
            clusters = (await tx.exec(behind.limit(_CLUSTERS_AT_ONCE).with_for_update())).all()
            for cluster in clusters:
                await _sum_up(tx, cluster, now)
            return len(clusters)

    async def _forget(self, tx: AsyncSession, now: datetime) -> None:
        for column, kept in (
            (col(Transition.at), timedelta(days=self._settings.transitions_kept_days)),
            (col(HealthHour.hour), timedelta(days=self._settings.hours_kept_days)),
            (col(WatchedNode.removed_at), _TOMBSTONES_KEPT),
            (col(Watched.deleted_at), _TOMBSTONES_KEPT),
            (col(Replica.beat_at), _REPLICAS_KEPT),
        ):
            await tx.exec(delete(column.class_).where(column < now - kept))  # type: ignore[attr-defined]


async def _sum_up(tx: AsyncSession, cluster: ClusterHealth, now: datetime) -> None:
    spans = whole_hours(cluster.rolled_up_to, now)
    of_it = select(Transition).where(col(Transition.cluster_id) == cluster.cluster_id)
    later = of_it.where(col(Transition.at) >= cluster.rolled_up_to)
    changes = (await tx.exec(later.order_by(col(Transition.at), col(Transition.id)))).all()
    verdict = changes[0].old if changes else cluster.verdict
    rows = []
    for start, end in spans:
        within = [(change.at, change.new) for change in changes if start <= change.at < end]
        seconds = seconds_by_verdict(verdict, within, start, end)
        rows.append(_hour(cluster, start, seconds))
        verdict = within[-1][1] if within else verdict
    await upsert(tx, HealthHour, rows, key=("cluster_id", "hour"), update=tuple(_COLUMNS.values()))
    cluster.rolled_up_to = spans[-1][1]
    tx.add(cluster)


def _hour(cluster: ClusterHealth, start: datetime, seconds: dict[Verdict, float]) -> dict[str, object]:
    sums: Iterable[tuple[str, float]] = ((_COLUMNS[verdict], seconds[verdict]) for verdict in Verdict)
    return {"cluster_id": cluster.cluster_id, "hour": hour_of(start), **dict(sums)}
