"""Keep a pool: a table of contents over what is done for it in one turn.

one pool
├── leases       → warn, end what is over or lost its cluster
├── queue        → whoever waits gets what is ready
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
from sqlmodel.sql.expression import SelectOfScalar

from caravan_api.admission import NotAdmitted
from caravan_api.decide.leases import next_look, warns, why_over
from caravan_api.decide.pools import LetGo, Steps, decide, pause_s
from caravan_api.desired import Desired
from caravan_api.pools.keys import id_of
from caravan_api.pools.leases import Leases, Outcome, lock_lease, waiting
from caravan_api.pools.sight import LiveLease, live, live_leases, look, next_try_at, rules_of
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Pool, PoolCluster
from caravan_api.recorder import lock_cluster
from caravan_api.store import Cluster
from caravan_shared.contracts.states import LeaseState
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
    listening_since: datetime
    """When this process started: it says nothing about who was silent before."""

    async def reconcile(self, turn: Turn) -> float | None:
        """Do what is due for a pool; return the seconds until the next look, None when it is gone."""
        pool = await _pool(turn)
        if pool is None or pool.deleted_at:
            return None
        leases = await self._tend_leases(turn, pool)
        await self._serve_queue(turn, pool)
        steps = await self._steps(turn, pool)
        for going in steps.let_go:
            await self._let_go(turn, pool, going)
        for _ in range(steps.make):
            if not await self._make(turn, pool):
                break
        await self._forget_what_is_gone(turn, pool)
        return _next_look_in(pool, leases, turn.now())

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Nothing here fails for good but admission, which is noted where it happens: this would be a defect."""
        raise RuntimeError(f"keeping {turn.key} failed: {error.reason}") from error

    # --- leases ---

    async def _tend_leases(self, turn: Turn, pool: Pool) -> Sequence[LiveLease]:
        async with turn.reading() as session:
            leases = await live_leases(session, pool, self.listening_since)
        for lease in leases:
            if lease.lost:
                await self._end(turn, lease, "its cluster was deleted")
            elif pool.deletion_asked_at and lease.live.state is LeaseState.WAITING:
                await self._end(turn, lease, "the pool is being deleted")
            else:
                await self._tend(turn, lease)
        return leases

    async def _end(self, turn: Turn, lease: LiveLease, why: str) -> None:
        async with turn.transaction() as tx:
            locked = await lock_lease(tx, lease.id)
            if locked and locked.state == lease.live.state:
                await self.leases.end(tx, locked, why)

    async def _tend(self, turn: Turn, lease: LiveLease) -> None:
        """Decide again with the row locked: its holder may have been heard of since we looked."""
        now, since = turn.now(), self.listening_since
        if not (why_over(lease.live, now) or warns(lease.live, now)):
            return
        async with turn.transaction() as tx:
            locked = await lock_lease(tx, lease.id)
            if locked is None or locked.state == LeaseState.ENDED:
                return
            if why := why_over(live(locked, since), now):
                await self.leases.end(tx, locked, why)
            elif warns(live(locked, since), now):
                await self.leases.warn(tx, locked)

    async def _serve_queue(self, turn: Turn, pool: Pool) -> None:
        """First come, first served; whoever holds as many as one may is passed over until then."""
        async with turn.reading() as session:
            queue = await waiting(session, pool)
        spec = PoolSpec.model_validate(pool.spec)
        for lease in queue:
            async with turn.transaction() as tx:
                locked = await lock_lease(tx, lease.id)
                is_waiting = locked is not None and locked.state == LeaseState.WAITING
                if locked and is_waiting and await self.leases.serve(tx, pool, spec, locked) is Outcome.NO_SPARE:
                    return  # one that gets ready at this moment is not the next one's

    # --- clusters ---

    async def _steps(self, turn: Turn, pool: Pool) -> Steps:
        now = turn.now()
        async with turn.reading() as session:
            clusters, queue = await look(session, pool), await waiting(session, pool)
        holds_off = next_try_at(pool, now) is not None
        return decide(rules_of(pool, now), clusters, len(queue), now, holds_off=holds_off)

    async def _let_go(self, turn: Turn, pool: Pool, going: LetGo) -> None:
        """Unless somebody takes it at this moment."""
        why = "the pool is being deleted" if pool.deletion_asked_at else going.why
        async with turn.transaction() as tx:
            statement = select(PoolCluster).where(
                PoolCluster.cluster_id == going.cluster_id,
                col(PoolCluster.lease_id).is_(None),
                col(PoolCluster.leaving).is_(False),
            )
            spare = (await tx.exec(statement.with_for_update(skip_locked=True))).one_or_none()
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

    async def _forget_what_is_gone(self, turn: Turn, pool: Pool) -> None:
        async with turn.reading() as session:
            gone = (await session.exec(_gone(pool))).all()
        if not gone and pool.deletion_asked_at is None:
            return
        async with turn.transaction() as tx:
            await tx.exec(delete(PoolCluster).where(col(PoolCluster.cluster_id).in_(gone)))
            left = (await tx.exec(select(PoolCluster.cluster_id).where(PoolCluster.pool_id == pool.id))).first()
            in_use = await live_leases(tx, pool, self.listening_since)
            if pool.deletion_asked_at and left is None and not in_use:
                row = await lock_pool(tx, pool)
                row.deleted_at = turn.now()
                tx.add(row)


def _gone(pool: Pool) -> "SelectOfScalar[UUID]":
    """The pool's clusters that are wholly deleted."""
    of_it = select(PoolCluster.cluster_id).where(PoolCluster.pool_id == pool.id)
    return of_it.join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id)).where(
        col(Cluster.deleted_at).is_not(None)
    )


async def lock_pool(tx: AsyncSession, pool: Pool) -> Pool:
    """The pool's row as it is now, locked until the transaction ends."""
    return await tx.get_one(Pool, pool.id, with_for_update=True, populate_existing=True)


async def _count_failure(tx: AsyncSession, pool: Pool, why: str, now: datetime) -> None:
    row = await lock_pool(tx, pool)
    row.failures, row.trouble = row.failures + 1, why
    row.holds_off_until = now + timedelta(seconds=pause_s(row.failures))
    tx.add(row)
    log.warning("a cluster of the pool did not come to be", pool=pool.name, failures=row.failures, reason=why)


async def _pool(turn: Turn) -> Pool | None:
    async with turn.reading() as session:
        return await session.get(Pool, id_of(turn.key))


def _next_look_in(pool: Pool, leases: Sequence[LiveLease], now: datetime) -> float:
    moments = [next_try_at(pool, now), *(next_look(lease.live) for lease in leases)]
    soonest = min(((moment - now).total_seconds() for moment in moments if moment), default=_LOOK_AGAIN_S)
    return min(max(soonest, 0.0), _LOOK_AGAIN_S)
