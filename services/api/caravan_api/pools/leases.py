"""Leases: take one, wait for it, make it longer, give it back. A cluster is one holder's and then nobody's.

No spare goes to two: whoever takes one holds its row locked and others pass it over, on PostgreSQL by SKIP LOCKED, on
SQLite because it has one writer. Lock order: lease, cluster of the pool, cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.desired import SOURCE, Desired
from caravan_api.errors import Conflict, Malformed
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Lease, Pool, PoolCluster
from caravan_api.recorder import Recorder, lock_cluster
from caravan_api.store import Cluster
from caravan_api.teams.quotas import check_lease_fits
from caravan_api.timeline import Entry, utc
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.states import LEASE_MOVES, ClusterPhase, LeaseState, Verdict, move
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import after_commit
from caravan_shared.plumbing.outbox import say

_REPLACED_IN_S = 1.0  # the pool looks once at all that were taken meanwhile; making one takes far longer


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a lease. Times in seconds; None is the pool's default."""

    lasts_s: int | None = None
    purpose: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    heartbeat_s: int | None = None


class Outcome(StrEnum):
    """What came of serving a lease."""

    SERVED = "served"
    NO_SPARE = "no spare"
    AT_LIMIT = "at limit"
    """Its holder has as many as one may: others may be served before."""


Changed = Callable[[UUID, float], None]
"""Called with the pool, and in how many seconds it has to be looked at."""


class Leases:
    """Changes leases. Callers hold the lease's lock and commit; `changed` is called after each commit."""

    def __init__(self, desired: Desired, recorder: Recorder, clock: Clock, changed: Changed) -> None:
        self._desired, self._recorder, self._clock, self._changed = desired, recorder, clock, changed

    async def take(self, tx: AsyncSession, pool: Pool, holder: str, wish: Wish) -> Lease:
        """A lease: Held where a spare is ready and nobody came first, else Waiting. Raises `Malformed`, `Conflict`."""
        if pool.deletion_asked_at:
            raise Conflict(f"the pool {pool.name} is being deleted")
        await check_lease_fits(tx, pool.team)
        spec = PoolSpec.model_validate(pool.spec)
        lease = self._new(pool, holder, wish, _within("lasts_s", wish.lasts_s or spec.lease_s, spec.max_lease_s))
        comes_first = not await waiting(tx, pool, most=1)
        if not comes_first or await self.serve(tx, pool, spec, lease) is not Outcome.SERVED:
            tx.add(lease)
            await say(tx, e.LeaseQueued(**_about(lease)))
            self._tell(tx, lease)
        return lease

    async def serve(self, tx: AsyncSession, pool: Pool, spec: PoolSpec, lease: Lease) -> Outcome:
        """Give a waiting lease a spare if one is ready. `spec` is the pool's."""
        now = self._clock.now()
        if spec.max_leases_per_holder and await _held_by(tx, pool, lease.holder) >= spec.max_leases_per_holder:
            return Outcome.AT_LIMIT
        found = await _ready_spare(tx, pool, now - timedelta(seconds=spec.smoke_max_age_s))
        if found is None:
            return Outcome.NO_SPARE
        spare, cluster = found
        spare.lease_id = lease.id
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.HELD).value
        lease.granted_at, lease.heard_at, lease.ends_at = now, now, now + timedelta(seconds=lease.lasts_s)
        lease.cluster_id, lease.cluster = cluster.id, cluster.name
        tx.add_all((spare, lease))
        granted = e.LeaseGranted(**_about(lease), cluster_id=cluster.id, cluster=cluster.name, ends_at=lease.ends_at)
        await say(tx, granted)
        text = f"{lease.holder} leased it until {utc(lease.ends_at)}{_for(lease)}"
        await self._recorder.note(tx, cluster, SOURCE, Entry("lease", text, {"lease_id": str(lease.id)}))
        self._tell(tx, lease, _REPLACED_IN_S)
        return Outcome.SERVED

    async def extend(self, tx: AsyncSession, pool: Pool, lease: Lease, for_s: int | None) -> None:
        """End later, by `for_s` or by what was asked for, within the pool's cap. Raises `Conflict`, `Malformed`."""
        granted_at, ends_at = _held(lease)
        latest = granted_at + timedelta(seconds=PoolSpec.model_validate(pool.spec).max_lease_s)
        most_s = int((latest - ends_at).total_seconds())
        if most_s <= 0:
            raise Conflict(f"the lease is as long already as the pool {pool.name} allows: it ends at {utc(ends_at)}")
        more_s = min(lease.lasts_s, most_s) if for_s is None else _within("for_s", for_s, most_s)
        lease.ends_at, lease.warned = ends_at + timedelta(seconds=more_s), False
        tx.add(lease)
        await say(tx, e.LeaseExtended(**_about(lease), ends_at=lease.ends_at))
        self._tell(tx, lease)

    def hear(self, tx: AsyncSession, lease: Lease) -> None:
        """Its holder is still there, or still waits. Raises `Conflict` for a lease that was given back or is over."""
        if lease.state != LeaseState.WAITING:
            _held(lease)
        lease.heard_at = self._clock.now()
        tx.add(lease)

    async def give_back(self, tx: AsyncSession, pool: Pool, lease: Lease, user: str, keep_s: int) -> None:
        """End it, or keep its cluster for `keep_s` to be looked at. Asking again is fine. Raises `Malformed`."""
        if lease.state == LeaseState.HELD and keep_s:
            _within("keep_s", keep_s, PoolSpec.model_validate(pool.spec).max_keep_s)
            await self._keep(tx, lease, user, keep_s)
        elif lease.state != LeaseState.ENDED and not (lease.state == LeaseState.KEPT and keep_s):
            how = "left the queue" if lease.state == LeaseState.WAITING else "gave it back"
            await self.end(tx, lease, f"{user} {how}")

    async def end(self, tx: AsyncSession, lease: Lease, reason: str) -> None:
        """It is over, and its cluster is deleted: nobody gets it again."""
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.ENDED).value
        lease.ended_at, lease.end_reason = self._clock.now(), reason
        tx.add(lease)
        await say(tx, e.LeaseEnded(**_about(lease), reason=reason))
        if lease.cluster_id:
            await self._delete_cluster(tx, lease, reason)
        self._tell(tx, lease)

    async def warn(self, tx: AsyncSession, lease: Lease) -> None:
        """Tell its holder that it ends soon, once."""
        assert lease.ends_at is not None, "only a lease that is held ends"
        lease.warned = True
        tx.add(lease)
        await say(tx, e.LeaseEnding(**_about(lease), ends_at=lease.ends_at))
        self._tell(tx, lease)

    async def _keep(self, tx: AsyncSession, lease: Lease, user: str, keep_s: int) -> None:
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.KEPT).value
        lease.ends_at = self._clock.now() + timedelta(seconds=keep_s)
        tx.add(lease)
        await say(tx, e.LeaseKept(**_about(lease), ends_at=lease.ends_at))
        cluster = await lock_cluster(tx, _cluster_of(lease))
        assert cluster is not None, "clusters are never dropped"
        text = f"{user} gave it back and keeps it until {utc(lease.ends_at)} to look at it"
        await self._recorder.note(tx, cluster, SOURCE, Entry("lease", text, {"lease_id": str(lease.id)}))
        self._tell(tx, lease)

    async def _delete_cluster(self, tx: AsyncSession, lease: Lease, reason: str) -> None:
        spare = await tx.get(PoolCluster, _cluster_of(lease), with_for_update=True)
        if spare:
            spare.leaving = True
            tx.add(spare)
        cluster = await lock_cluster(tx, _cluster_of(lease))
        assert cluster is not None, "clusters are never dropped"
        text = f"The lease of {lease.holder} ended: {reason}"
        await self._recorder.note(tx, cluster, SOURCE, Entry("lease", text, {"lease_id": str(lease.id)}))
        await self._desired.delete(tx, cluster, f"the pool {lease.pool}")

    def _new(self, pool: Pool, holder: str, wish: Wish, lasts_s: int) -> Lease:
        now = self._clock.now()
        return Lease(
            id=uuid4(),
            pool_id=pool.id,
            pool=pool.name,
            team=pool.team,
            holder=holder,
            purpose=wish.purpose,
            labels=dict(wish.labels),
            state=LeaseState.WAITING.value,
            asked_at=now,
            heard_at=now,
            lasts_s=lasts_s,
            heartbeat_s=wish.heartbeat_s,
        )

    def _tell(self, tx: AsyncSession, lease: Lease, look_in_s: float = 0.0) -> None:
        pool_id = lease.pool_id
        after_commit(tx, lambda: self._changed(pool_id, look_in_s))


async def waiting(session: AsyncSession, pool: Pool, *, most: int | None = None) -> Sequence[Lease]:
    """A pool's queue, first come first."""
    statement = (
        select(Lease)
        .where(Lease.pool_id == pool.id, col(Lease.ended_at).is_(None), Lease.state == LeaseState.WAITING.value)
        .order_by(col(Lease.asked_at), col(Lease.id))
    )
    return (await session.exec(statement.limit(most))).all()


async def lock_lease(tx: AsyncSession, lease_id: UUID) -> Lease | None:
    """The lease's row, locked until the transaction ends."""
    return (await tx.exec(select(Lease).where(Lease.id == lease_id).with_for_update())).one_or_none()


async def _ready_spare(tx: AsyncSession, pool: Pool, tested_since: datetime) -> tuple[PoolCluster, Cluster] | None:
    """The oldest spare that is fit, locked with its cluster."""
    statement = (
        select(PoolCluster, Cluster)
        .join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id))
        .where(
            PoolCluster.pool_id == pool.id,
            PoolCluster.template_revision == pool.template_revision,
            col(PoolCluster.lease_id).is_(None),
            col(PoolCluster.leaving).is_(False),
            col(PoolCluster.tested_at) >= tested_since,
            Cluster.phase == ClusterPhase.READY.value,
            Cluster.verdict == Verdict.HEALTHY.value,
            col(Cluster.deletion_asked_at).is_(None),
        )
        .order_by(col(PoolCluster.made_at))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = (await tx.exec(statement)).one_or_none()
    return (found[0], found[1]) if found else None


async def _held_by(tx: AsyncSession, pool: Pool, holder: str) -> int:
    held = select(func.count()).where(
        Lease.pool_id == pool.id, Lease.holder == holder, Lease.state == LeaseState.HELD.value
    )
    return int((await tx.exec(held)).one())


def _held(lease: Lease) -> tuple[datetime, datetime]:
    """Since when and until when it is held. Raises `Conflict` for a lease that nobody holds."""
    if lease.state == LeaseState.HELD and lease.granted_at and lease.ends_at:
        return lease.granted_at, lease.ends_at
    how = {
        LeaseState.WAITING: "has no cluster yet",
        LeaseState.KEPT: "was given back",
        LeaseState.ENDED: f"is over: {lease.end_reason}",
    }
    raise Conflict(f"the lease {how[LeaseState(lease.state)]}")


def _cluster_of(lease: Lease) -> UUID:
    assert lease.cluster_id is not None, "a lease that was held names its cluster"
    return lease.cluster_id


def _within(name: str, value_s: int, most_s: int) -> int:
    if value_s > most_s:
        problem = f"{value_s} s is longer than the {most_s} s that the pool allows now"
        raise Malformed([FieldProblem(field=name, problem=problem, remedy=f"give at most {most_s}")])
    return value_s


def _about(lease: Lease) -> dict[str, object]:
    return {"lease_id": lease.id, "team": lease.team, "pool": lease.pool, "holder": lease.holder}


def _for(lease: Lease) -> str:
    return f", for: {lease.purpose}" if lease.purpose else ""
