"""Keep every spare's smoke test fresh: health is asked when the last one is half as old as it may be.

One that was woken is tested at once, and a test that fails is repeated soon. What failed, and since when, is
written down; the pool decides from that when a spare is broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.ask import Ask
from caravan_api.decide.facts import Facts
from caravan_api.desired import SOURCE
from caravan_api.pools.keys import id_of
from caravan_api.pools.leases import Changed
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool, PoolCluster
from caravan_api.recorder import Recorder
from caravan_api.store import Cluster
from caravan_api.timeline import Entry
from caravan_shared.contracts.requests import AskSmokeTest, SmokeTest
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import ClusterPhase, Verdict
from caravan_shared.plumbing.database import after_commit
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.reconciler import Turn

_AGAIN_S = 3.0  # after a test that failed
_WEIGHT = 0.3  # of the newest cluster in how long making one usually takes


@dataclass(frozen=True, slots=True)
class SpareReconciler:
    """One cluster of a pool at a time. `changed` is called with the pool after a test that changed something."""

    ask: Ask
    recorder: Recorder
    changed: Changed

    async def reconcile(self, turn: Turn) -> float | None:
        """Test a spare if it is time; return the seconds until the next test, None where none is due by itself."""
        async with turn.reading() as session:
            spare, cluster, pool = await _found(session, id_of(turn.key))
        if spare is None or cluster is None or pool is None or not _is_tested(spare, cluster):
            return None
        every = timedelta(seconds=PoolSpec.model_validate(pool.spec).smoke_max_age_s / 2)
        slept_since = spare.tested_at and cluster.woken_at and spare.tested_at < cluster.woken_at
        if spare.tested_at and not slept_since and not spare.failing_since and turn.now() < spare.tested_at + every:
            return (spare.tested_at + every - turn.now()).total_seconds()
        problems = await self._problems(cluster)
        await self._note(turn, problems)
        return _AGAIN_S if problems else every.total_seconds()

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """A refusal to test is a test that failed."""
        await self._note(turn, [error.reason])

    async def _problems(self, cluster: Cluster) -> Sequence[str]:
        if cluster.verdict != Verdict.HEALTHY:
            health = Facts.model_validate(cluster.facts).health
            return [f"{health.verdict}: {health.reason}" if health else "nothing is known of its health yet"]
        sets = ClusterSpec.model_validate(cluster.spec).node_sets()
        nodes = sum(node_set.count for node_set in sets if node_set.role is not Role.ETCD)
        return (await self.ask(AskSmokeTest(cluster_id=cluster.id, nodes=nodes), SmokeTest)).problems

    async def _note(self, turn: Turn, problems: Sequence[str]) -> None:
        async with turn.transaction() as tx:
            spare = await tx.get(PoolCluster, id_of(turn.key), with_for_update=True)
            if spare is None:
                return
            if problems:
                spare.failing_since, spare.problem = spare.failing_since or turn.now(), "; ".join(problems)
            else:
                spare.tested_at, spare.failing_since, spare.problem = turn.now(), None, None
            if not problems and spare.ready_at is None:
                spare.ready_at = turn.now()
                pool = await _note_success(tx, spare, (spare.ready_at - spare.made_at).total_seconds())
                fit = Entry("pool", f"Passed its smoke test: a spare of the pool {pool.name}", {})
                await self.recorder.note(tx, spare.cluster_id, pool.team, SOURCE, fit)
            tx.add(spare)
            pool_id = spare.pool_id
            after_commit(tx, lambda: self.changed(pool_id, 0.0))


async def _found(session: AsyncSession, cluster_id: UUID) -> tuple[PoolCluster | None, Cluster | None, Pool | None]:
    spare = await session.get(PoolCluster, cluster_id)
    pool = await session.get(Pool, spare.pool_id) if spare else None
    return spare, await session.get(Cluster, cluster_id), pool


def _is_tested(spare: PoolCluster, cluster: Cluster) -> bool:
    is_spare = spare.lease_id is None and not spare.leaving and cluster.deletion_asked_at is None
    return is_spare and cluster.phase == ClusterPhase.READY


async def _note_success(tx: AsyncSession, spare: PoolCluster, took_s: float) -> Pool:
    """The pool can make clusters, and this is how long it takes."""
    pool = await tx.get_one(Pool, spare.pool_id, with_for_update=True)
    usual = pool.usual_making_s
    pool.usual_making_s = took_s if usual is None else usual + _WEIGHT * (took_s - usual)
    pool.forget_failures()
    tx.add(pool)
    return pool
