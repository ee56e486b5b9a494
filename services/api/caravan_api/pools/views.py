"""What the api shows of pools and leases."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.pools import Bucket, Queue, bucket, count, estimate_s, held
from caravan_api.pools.sight import how_many_wait, look, next_try_at, rules_of, turns_of
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Lease, Pool
from caravan_shared.contracts.maintenance import Opening
from caravan_shared.contracts.states import LeaseState


class Buckets(BaseModel):
    """The pool's clusters, each counted once."""

    ready: int = Field(description="Spares that whoever comes next gets.")
    making: int = Field(description="Asked for, or not yet found fit by a smoke test.")
    asleep: int = Field(description="Spares whose machines are stopped; woken when none is awake.")
    stale: int = Field(description="Made from an earlier template, and replaced now.")
    old: int = Field(description="Spares for too long; replaced once others are ready.")
    broken: int = Field(description="Did not come to be, or are fit no more; replaced.")
    leaving: int = Field(description="Being deleted.")
    leased: int


class PoolView(BaseModel):
    """A pool and how it is."""

    id: UUID
    name: str
    team: str
    spec: PoolSpec
    spares_wanted: int = Field(description="Now, as the schedule says.")
    clusters: Buckets
    waiting: int = Field(description="Leases in the queue.")
    usual_making_s: float | None = Field(
        description="What a cluster usually takes until it is fit; null: none was yet."
    )
    trouble: str | None = Field(description="Why the last cluster did not come to be; null: the last one did.")
    next_try_at: datetime | None = Field(description="When making one is tried again after that.")
    roll: str | None = Field(
        description="Why spares of an earlier template are not replaced yet, and until when; null: none is held back."
    )
    roll_at: datetime | None = Field(description="When they are.")
    deleting: bool
    created_at: datetime
    created_by: str
    updated_at: datetime
    etag: str


class LeaseView(BaseModel):
    """A lease and how far it is."""

    id: UUID
    pool: str
    pool_id: UUID
    team: str
    holder: str
    state: LeaseState
    purpose: str | None
    labels: dict[str, str]
    asked_at: datetime
    lasts_s: int
    position: int | None = Field(
        description="Its turn, from 1; null once it is served. The team that has the fewest clusters is next."
    )
    estimate_s: float | None = Field(description="Seconds until it is likely served; null where that cannot be told.")
    granted_at: datetime | None
    ends_at: datetime | None
    heartbeat_s: int | None
    cluster_id: UUID | None
    cluster: str | None
    ended_at: datetime | None
    end_reason: str | None


def pool_etag(pool: Pool) -> str:
    """Names what is wanted, not what was observed."""
    return f'"{pool.revision}"'


async def pool_view(session: AsyncSession, pool: Pool, now: datetime) -> PoolView:
    """A pool's JSON."""
    rules, spec = rules_of(pool, now), PoolSpec.model_validate(pool.spec)
    sight = await look(session, pool)
    buckets = count(sight.clusters, sight.others, rules, now)
    held_back = held(sight.clusters, rules, now)
    window = spec.roll_waits_for(now) if held_back else None
    return PoolView(
        id=pool.id,
        name=pool.name,
        team=pool.team,
        spec=spec,
        spares_wanted=rules.spares,
        clusters=Buckets(**{each.value: buckets[each] for each in Bucket}),
        waiting=await how_many_wait(session, pool),
        usual_making_s=pool.usual_making_s,
        trouble=pool.trouble,
        next_try_at=next_try_at(pool, now),
        roll=_why_held(held_back, window) if window else None,
        roll_at=window.opens_at if window else None,
        deleting=pool.deletion_asked_at is not None,
        created_at=pool.created_at,
        created_by=pool.created_by,
        updated_at=pool.updated_at,
        etag=pool_etag(pool),
    )


def _why_held(clusters: int, window: Opening) -> str:
    which = "1 spare of an earlier template waits" if clusters == 1 else f"{clusters} of an earlier template wait"
    return f"{which} for the maintenance window: next {window}; handed out as before until then"


def lease_view(lease: Lease, position: int | None = None, wait_s: float | None = None) -> LeaseView:
    """A lease's JSON; one that waits has a position."""
    return LeaseView(
        **lease.model_dump(include=set(LeaseView.model_fields) - {"position", "estimate_s"}),
        position=position,
        estimate_s=None if wait_s is None else round(wait_s, 1),
    )


async def waiting_view(session: AsyncSession, pool: Pool, lease: Lease, now: datetime) -> LeaseView:
    """A lease's JSON with its place in the queue, if it is in one."""
    (view,) = await waiting_views(session, pool, [lease], now)
    return view


async def waiting_views(
    session: AsyncSession, pool: Pool, leases: Sequence[Lease], now: datetime
) -> Sequence[LeaseView]:
    """The same for several of one pool, in their order."""
    if all(lease.state != LeaseState.WAITING for lease in leases):
        return [lease_view(lease) for lease in leases]
    order, queue = await turns_of(session, pool), await _queue(session, pool, now)

    def view(lease: Lease) -> LeaseView:
        if lease.state != LeaseState.WAITING:
            return lease_view(lease)
        place = order.position(lease.id)
        return lease_view(lease, place, estimate_s(place, queue, now) if queue else None)

    return [view(lease) for lease in leases]


async def queue_views(session: AsyncSession, pool: Pool, now: datetime) -> list[LeaseView]:
    """Whoever waits for one of the pool's clusters, of all teams, in the order of their turns."""
    order, queue = await turns_of(session, pool), await _queue(session, pool, now)
    waiting = (
        await session.exec(select(Lease).where(Lease.pool_id == pool.id, Lease.state == LeaseState.WAITING))
    ).all()
    placed = sorted(((order.position(lease.id), lease) for lease in waiting), key=lambda each: each[0])
    return [lease_view(lease, place, estimate_s(place, queue, now) if queue else None) for place, lease in placed]


_STAYING = (Bucket.READY, Bucket.MAKING, Bucket.ASLEEP, Bucket.OLD, Bucket.LEASED)


async def _queue(session: AsyncSession, pool: Pool, now: datetime) -> Queue | None:
    """What the likely wait follows from; None where no cluster of the pool was ever made."""
    if pool.usual_making_s is None:
        return None
    rules, sight = rules_of(pool, now), await look(session, pool)
    buckets = count(sight.clusters, sight.others, rules, now)
    occupied = sum(buckets[each] for each in _STAYING)
    return Queue(
        making_since=[seen.made_at for seen in sight.clusters if bucket(seen, rules, now) is Bucket.MAKING],
        usual_making_s=pool.usual_making_s,
        at_once=rules.max_making,
        room=max(0, rules.max_size - occupied),
    )
