"""Leases: take one, wait for it, make it longer, give it back. A cluster is one holder's and then nobody's.

No spare goes to two: whoever takes one holds its row locked and others pass it over, on PostgreSQL by SKIP LOCKED, on
SQLite because it has one writer. Lock order: lease, pool (only where it has quotas), cluster of the pool, cluster; the
counter of changes last, as everybody waits for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Update, bindparam, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.leases import next_look, warns, why_over
from caravan_api.desired import SOURCE, Desired
from caravan_api.errors import Conflict, Malformed
from caravan_api.pools.sight import live, shares, somebody_waits
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
    """None is ready, or others came first."""
    AT_LIMIT = "at limit"
    """Its holder or team has as many as one may: others may be served before."""


Changed = Callable[[UUID, float], None]
"""Called with the pool, and in how many seconds it has to be looked at."""


class Leases:
    """Changes leases. Callers hold the lease's lock and commit; `changed` is called after each commit.

    Nobody counts as silent for a time in which no api listened, so at first from when this object was made.
    """

    def __init__(self, desired: Desired, recorder: Recorder, clock: Clock, changed: Changed) -> None:
        self._desired, self._recorder, self._clock, self._changed = desired, recorder, clock, changed
        self._listening_since = clock.now()

    async def take(self, tx: AsyncSession, pool: Pool, team: str, holder: str, wish: Wish) -> Lease:
        """A lease: Held where a spare is ready and nobody came first, else Waiting. Raises `Malformed`, `Conflict`."""
        if pool.deletion_asked_at:
            raise Conflict(f"the pool {pool.name} is being deleted")
        await check_lease_fits(tx, team)
        spec = PoolSpec.model_validate(pool.spec)
        lasts_s = _within("lasts_s", wish.lasts_s or spec.lease_s, spec.max_lease_s)
        lease = self._new(pool, team, holder, wish, lasts_s)
        if await self._serve(tx, pool, spec, lease, _TAKE_UNLESS_SOMEBODY_WAITS) is not Outcome.SERVED:
            self._put(tx, lease)
            await say(tx, e.LeaseQueued(**_about(lease)))
            self._tell(tx, lease)
        return lease

    async def serve(self, tx: AsyncSession, pool: Pool, spec: PoolSpec, lease: Lease) -> Outcome:
        """Give a lease whose turn it is a spare if one is ready. `spec` is the pool's."""
        return await self._serve(tx, pool, spec, lease, _TAKE)

    async def _serve(self, tx: AsyncSession, pool: Pool, spec: PoolSpec, lease: Lease, take: Update) -> Outcome:
        if spec.quotas.any:
            await lock_pool(tx, pool)  # or two at once would both be the last that the quota allows
            if not spec.quotas.allow(await shares(tx, pool), lease.team, lease.holder):
                return Outcome.AT_LIMIT
        now = self._clock.now()
        wanted = {
            "pool": pool.id,
            "earliest": _earliest_template(pool, spec, now),
            "tested_since": now - timedelta(seconds=spec.smoke_max_age_s),
            "lease": lease.id,
        }
        spare = (await tx.exec(take, params=wanted)).one_or_none()
        if spare is None:
            return Outcome.NO_SPARE
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.HELD).value
        lease.granted_at, lease.heard_at, lease.ends_at = now, now, now + timedelta(seconds=lease.lasts_s)
        lease.cluster_id, lease.cluster = spare.cluster_id, spare.name
        self._put(tx, lease)
        granted = {"cluster_id": spare.cluster_id, "cluster": spare.name, "ends_at": lease.ends_at}
        await say(tx, e.LeaseGranted(**_about(lease), **granted))
        await self._note(tx, lease, pool.team, f"{lease.holder} leased it until {utc(lease.ends_at)}{_for(lease)}")
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
        self._put(tx, lease)
        await say(tx, e.LeaseExtended(**_about(lease), ends_at=lease.ends_at))
        self._tell(tx, lease)

    def hear(self, tx: AsyncSession, lease: Lease) -> None:
        """Its holder is still there, or still waits. Raises `Conflict` for a lease that was given back or is over."""
        if lease.state != LeaseState.WAITING:
            _held(lease)
        lease.heard_at = self._clock.now()
        self._put(tx, lease)

    async def give_back(self, tx: AsyncSession, pool: Pool, lease: Lease, user: str, keep_s: int) -> None:
        """End it, or keep its cluster for `keep_s` to be looked at. Asking again is fine. Raises `Malformed`."""
        if lease.state == LeaseState.HELD and keep_s:
            _within("keep_s", keep_s, PoolSpec.model_validate(pool.spec).max_keep_s)
            await self._keep(tx, lease, user, keep_s)
        elif lease.state != LeaseState.ENDED and not (lease.state == LeaseState.KEPT and keep_s):
            how = "left the queue" if lease.state == LeaseState.WAITING else "gave it back"
            await self.end(tx, lease, f"{user} {how}")

    async def tend(self, tx: AsyncSession, lease: Lease) -> None:
        """Do what is due about it: end it, warn its holder, or only see when the next thing is."""
        now, seen = self._clock.now(), live(lease, self._listening_since)
        if why := why_over(seen, now):
            await self.end(tx, lease, why)
        elif warns(seen, now):
            await self._warn(tx, lease)
        else:
            self._put(tx, lease)

    async def end(self, tx: AsyncSession, lease: Lease, reason: str) -> None:
        """It is over, and its cluster is deleted: nobody gets it again."""
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.ENDED).value
        lease.ended_at, lease.end_reason = self._clock.now(), reason
        tx.add(lease)
        await say(tx, e.LeaseEnded(**_about(lease), reason=reason))
        if lease.cluster_id:
            await self._delete_cluster(tx, lease, reason)
        self._tell(tx, lease)

    async def _warn(self, tx: AsyncSession, lease: Lease) -> None:
        assert lease.ends_at is not None, "only a lease that is held ends"
        lease.warned = True
        self._put(tx, lease)
        await say(tx, e.LeaseEnding(**_about(lease), ends_at=lease.ends_at))
        self._tell(tx, lease)

    async def _keep(self, tx: AsyncSession, lease: Lease, user: str, keep_s: int) -> None:
        lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.KEPT).value
        lease.ends_at = self._clock.now() + timedelta(seconds=keep_s)
        self._put(tx, lease)
        await say(tx, e.LeaseKept(**_about(lease), ends_at=lease.ends_at))
        cluster = await lock_cluster(tx, _cluster_of(lease))
        assert cluster is not None, "clusters are never dropped"
        text = f"{user} gave it back and keeps it until {utc(lease.ends_at)} to look at it"
        await self._note(tx, lease, cluster.team, text)
        self._tell(tx, lease)

    async def _delete_cluster(self, tx: AsyncSession, lease: Lease, reason: str) -> None:
        spare = await tx.get(PoolCluster, _cluster_of(lease), with_for_update=True)
        if spare:
            spare.leaving = True
            tx.add(spare)
        cluster = await lock_cluster(tx, _cluster_of(lease))
        assert cluster is not None, "clusters are never dropped"
        await self._note(tx, lease, cluster.team, f"The lease of {lease.holder} ended: {reason}")
        await self._desired.delete(tx, cluster, f"the pool {lease.pool}")

    def _new(self, pool: Pool, team: str, holder: str, wish: Wish, lasts_s: int) -> Lease:
        now = self._clock.now()
        return Lease(
            id=uuid4(),
            pool_id=pool.id,
            pool=pool.name,
            team=team,
            holder=holder,
            purpose=wish.purpose,
            labels=dict(wish.labels),
            state=LeaseState.WAITING.value,
            asked_at=now,
            heard_at=now,
            lasts_s=lasts_s,
            heartbeat_s=wish.heartbeat_s,
        )

    def _put(self, tx: AsyncSession, lease: Lease) -> None:
        """Store it, with when something is next to be done about it."""
        lease.due_at = next_look(live(lease, self._listening_since))
        tx.add(lease)

    async def _note(self, tx: AsyncSession, lease: Lease, team: str, text: str) -> None:
        """Into the timeline of its cluster, which is that team's."""
        entry = Entry("lease", text, {"lease_id": str(lease.id)})
        await self._recorder.note(tx, _cluster_of(lease), team, SOURCE, entry)

    def _tell(self, tx: AsyncSession, lease: Lease, look_in_s: float = 0.0) -> None:
        pool_id = lease.pool_id
        after_commit(tx, lambda: self._changed(pool_id, look_in_s))


async def lock_lease(tx: AsyncSession, lease_id: UUID) -> Lease | None:
    """The lease's row, locked until the transaction ends."""
    return (await tx.exec(select(Lease).where(Lease.id == lease_id).with_for_update())).one_or_none()


async def lock_pool(tx: AsyncSession, pool: Pool) -> Pool:
    """The pool's row as it is now, locked until the transaction ends."""
    return await tx.get_one(Pool, pool.id, with_for_update=True, populate_existing=True)


def _take(*conditions: ColumnElement[bool]) -> Update:
    """The oldest fit spare, of the newest template first, becomes a lease's, in one statement.

    It returns the id and name of its cluster, if there is one.

    It and its cluster are locked as they are found, and spares that others have locked are passed over.
    """
    fit = (
        select(PoolCluster.cluster_id)
        .join(Cluster, col(Cluster.id) == col(PoolCluster.cluster_id))
        .where(
            PoolCluster.pool_id == bindparam("pool"),
            col(PoolCluster.template_revision) >= bindparam("earliest"),
            col(PoolCluster.lease_id).is_(None),
            col(PoolCluster.leaving).is_(False),
            col(PoolCluster.tested_at) >= bindparam("tested_since"),
            or_(col(Cluster.woken_at).is_(None), col(PoolCluster.tested_at) >= col(Cluster.woken_at)),
            Cluster.phase == ClusterPhase.READY.value,
            Cluster.verdict == Verdict.HEALTHY.value,
            col(Cluster.deletion_asked_at).is_(None),
            *conditions,
        )
        .order_by(col(PoolCluster.template_revision).desc(), col(PoolCluster.made_at))
        .limit(1)
        .with_for_update(skip_locked=True)
        .correlate(None)
        .scalar_subquery()
    )
    name = select(Cluster.name).where(Cluster.id == PoolCluster.cluster_id).scalar_subquery()
    taken = update(PoolCluster).where(col(PoolCluster.cluster_id) == fit).values(lease_id=bindparam("lease"))
    return taken.returning(col(PoolCluster.cluster_id), name.label("name")).execution_options(synchronize_session=False)


_TAKE = _take()
_TAKE_UNLESS_SOMEBODY_WAITS = _take(~somebody_waits(bindparam("pool")))


def _earliest_template(pool: Pool, spec: PoolSpec, now: datetime) -> int:
    """The earliest revision that a spare may be of: any, while their replacement waits for its window."""
    return 1 if spec.roll_waits_for(now) else pool.template_revision


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
