"""Keep a pool: a table of contents over what is done for it in one turn.

one pool
├── leases       → warn, end what is over or lost its cluster
├── queue        → whoever's turn it is gets what is ready
├── clusters     → let go what nobody should get, make what is missing
└── deletion     → forget the pool when nothing of it is left
"""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import NotAdmitted
from caravan_api.decide.pools import LetGo, decide, pause_s
from caravan_api.decide.turns import Waiter
from caravan_api.desired import Desired
from caravan_api.pools import sight
from caravan_api.pools.keys import id_of
from caravan_api.pools.leases import Leases, Outcome, lock_lease, lock_pool
from caravan_api.pools.sight import Sight, next_try_at, rules_of
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool, PoolCluster
from caravan_api.recorder import lock_cluster
from caravan_api.store import Cluster
from caravan_shared.contracts.states import ClusterPhase, LeaseState
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

_LOOK_AGAIN_S = 30.0  # for what no event tells: a spare grows old, the schedule's hour comes
_SUFFIX = string.ascii_lowercase + string.digits
_SUFFIX_LENGTH = 5


@dataclass(frozen=True, slots=True)
class PoolReconciler:
    """One pool at a time, under the plumbing's lease."""

    desired: Desired
    leases: Leases

    async def reconcile(self, turn: Turn) -> float | None:
        """Do what is due for a pool; return the seconds until the next look, None when it is gone."""
        pool = await _pool(turn)
        if pool is None or pool.deleted_at:
            return None
        await self._tend_leases(turn, pool)
        await self._tend_queue(turn, pool)
        seen = await self._tend_clusters(turn, pool)
        await self._forget_what_is_gone(turn, pool, seen)
        return await _next_look_in(turn, pool)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Nothing here fails for good but admission, which is noted where it happens: this would be a defect."""
        raise RuntimeError(f"keeping {turn.key} failed: {error.reason}") from error

    # --- leases ---

    async def _tend_leases(self, turn: Turn, pool: Pool) -> None:
        async with turn.reading() as session:
            lost, due = await sight.lost(session, pool), await sight.due(session, pool, turn.now())
        for lease_id in lost:
            await self._end(turn, lease_id, "its cluster was deleted", LeaseState.HELD, LeaseState.KEPT)
        for lease_id in due:
            async with turn.transaction() as tx:
                lease = await lock_lease(tx, lease_id)
                if lease and lease.state != LeaseState.ENDED:
                    await self.leases.tend(tx, lease)

    async def _end(self, turn: Turn, lease_id: UUID, why: str, *states: LeaseState) -> None:
        """Unless it has left these states meanwhile."""
        async with turn.transaction() as tx:
            lease = await lock_lease(tx, lease_id)
            if lease and lease.state in states:
                await self.leases.end(tx, lease, why)

    async def _tend_queue(self, turn: Turn, pool: Pool) -> None:
        async with turn.reading() as session:
            turns = await sight.turns_of(session, pool)
        for each in (*turns.served, *turns.passed_over):
            if why := _why_turned_away(each, pool):
                await self._end(turn, each.lease_id, why, LeaseState.WAITING)
        await self._serve(turn, pool, turns.served)

    async def _serve(self, turn: Turn, pool: Pool, queue: Sequence[Waiter]) -> None:
        spec = PoolSpec.model_validate(pool.spec)
        for each in queue:
            async with turn.transaction() as tx:
                lease = await lock_lease(tx, each.lease_id)
                is_waiting = lease is not None and lease.state == LeaseState.WAITING
                if lease and is_waiting and await self.leases.serve(tx, pool, spec, lease) is Outcome.NO_SPARE:
                    return  # one that gets ready at this moment is not the next one's

    # --- clusters ---

    async def _tend_clusters(self, turn: Turn, pool: Pool) -> Sight:
        now = turn.now()
        async with turn.reading() as session:
            seen, waiting = await sight.look(session, pool), await sight.how_many_wait(session, pool)
        holds_off = next_try_at(pool, now) is not None
        steps = decide(rules_of(pool, now), seen.clusters, seen.others, waiting, now, holds_off=holds_off)
        for going in steps.let_go:
            await self._let_go(turn, pool, going)
        for cluster_id in steps.put_to_sleep:
            await self._set_asleep(turn, pool, cluster_id, asleep=True)
        for cluster_id in steps.wake:
            await self._set_asleep(turn, pool, cluster_id, asleep=False)
        for _ in range(steps.make):
            if not await self._make(turn, pool):
                break
        return seen

    async def _set_asleep(self, turn: Turn, pool: Pool, cluster_id: UUID, *, asleep: bool) -> None:
        """Put a spare to sleep or wake it, unless somebody takes it at this moment."""
        by = f"the pool {pool.name}"
        async with turn.transaction() as tx:
            spare = await _unclaimed(tx, cluster_id)
            cluster = await lock_cluster(tx, cluster_id) if spare else None
            if cluster is None or cluster.deletion_asked_at:
                return
            if not asleep:
                await self.desired.wake(tx, cluster, by)
            elif cluster.phase == ClusterPhase.READY:
                await self.desired.hibernate(tx, cluster, by)

    async def _let_go(self, turn: Turn, pool: Pool, going: LetGo) -> None:
        """Unless somebody takes it at this moment."""
        why = "the pool is being deleted" if pool.deletion_asked_at else going.why
        async with turn.transaction() as tx:
            spare = await _unclaimed(tx, going.cluster_id)
            cluster = await lock_cluster(tx, going.cluster_id) if spare else None
            if spare is None or cluster is None:
                return
            spare.leaving = True
            tx.add(spare)
            if going.never_fit:
                reason = cluster.failure["reason"] if cluster.failure else going.why
                await _count_failure(tx, pool, f"{cluster.name}: {reason}", turn.now())
            await self.desired.delete(tx, cluster, f"the pool {pool.name}", why)
        log.info("cluster let go", pool=pool.name, cluster=str(going.cluster_id), why=why)

    async def _make(self, turn: Turn, pool: Pool) -> bool:
        """Ask for one cluster more; False if that is not admitted now."""
        name = f"{pool.name}-{''.join(secrets.choice(_SUFFIX) for _ in range(_SUFFIX_LENGTH))}"
        try:
            async with turn.transaction() as tx:
                asked = {"name": name, "spec": pool.spec["template"]}
                cluster = await self.desired.create(tx, pool.team, f"pool:{pool.name}", asked, pool_id=pool.id)
                tx.add(
                    PoolCluster(
                        cluster_id=cluster.id,
                        pool_id=pool.id,
                        template_revision=pool.template_revision,
                        made_at=turn.now(),
                    )
                )
        except NotAdmitted as refused:
            async with turn.transaction() as tx:
                await _count_failure(tx, pool, refused.reason, turn.now())
            return False
        return True

    # --- the end ---

    async def _forget_what_is_gone(self, turn: Turn, pool: Pool, seen: Sight) -> None:
        if not seen.gone and pool.deletion_asked_at is None:
            return
        of_it = col(PoolCluster.pool_id) == pool.id
        is_gone = (col(Cluster.id) == col(PoolCluster.cluster_id)) & col(Cluster.deleted_at).is_not(None)
        async with turn.transaction() as tx:
            await tx.exec(delete(PoolCluster).where(of_it, select(Cluster.id).where(is_gone).exists()))
            left = (await tx.exec(select(PoolCluster.cluster_id).where(of_it).limit(1))).first()
            if pool.deletion_asked_at and left is None and not await sight.are_open(tx, pool):
                row = await lock_pool(tx, pool)
                row.deleted_at = turn.now()
                tx.add(row)


async def _unclaimed(tx: AsyncSession, cluster_id: UUID) -> PoolCluster | None:
    """The spare, locked; None where somebody has it, takes it at this moment, or it leaves."""
    is_spare = (col(PoolCluster.lease_id).is_(None), col(PoolCluster.leaving).is_(False))
    statement = select(PoolCluster).where(PoolCluster.cluster_id == cluster_id, *is_spare)
    return (await tx.exec(statement.with_for_update(skip_locked=True))).one_or_none()


def _why_turned_away(waiter: Waiter, pool: Pool) -> str | None:
    """Why somebody need not wait for the pool any more; None while that makes sense."""
    if pool.deletion_asked_at:
        return "the pool is being deleted"
    return None if pool.is_for(waiter.team) else "the pool is shared with its team no more"


async def _count_failure(tx: AsyncSession, pool: Pool, why: str, now: datetime) -> None:
    row = await lock_pool(tx, pool)
    row.failures, row.trouble = row.failures + 1, why
    row.holds_off_until = now + timedelta(seconds=pause_s(row.failures))
    tx.add(row)
    log.warning("a cluster of the pool did not come to be", pool=pool.name, failures=row.failures, reason=why)


async def _pool(turn: Turn) -> Pool | None:
    async with turn.reading() as session:
        return await session.get(Pool, id_of(turn.key))


async def _next_look_in(turn: Turn, pool: Pool) -> float:
    async with turn.reading() as session:
        moments = (next_try_at(pool, turn.now()), await sight.next_due_at(session, pool))
    soonest = min(((moment - turn.now()).total_seconds() for moment in moments if moment), default=_LOOK_AGAIN_S)
    return min(max(soonest, 0.0), _LOOK_AGAIN_S)
