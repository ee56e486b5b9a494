"""Leases: take one, wait for it, make it longer, give it back. A cluster is one holder's and then nobody's.

Many who come at once may be served in one transaction, each as if alone.

Lock order: lease, pool (only where it has quotas), team (likewise), cluster of the pool, cluster; the counter of
changes last, as everybody waits for it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.audit.actor import Actor, actor, sign
from caravan_api.decide.leases import next_look, warns, why_over
from caravan_api.decide.takes import Fate, Taker, fates, less
from caravan_api.decide.turns import Shares
from caravan_api.desired import SOURCE, Desired
from caravan_api.errors import Conflict, Malformed, NotFound, NotYet
from caravan_api.pools.claims import Spare, claim
from caravan_api.pools.sight import live, shares
from caravan_api.pools.spec import PoolSpec
from caravan_api.pools.store import Lease, Pool, PoolCluster
from caravan_api.recorder import Recorder, lock_cluster
from caravan_api.teams.quotas import leases_left
from caravan_api.timeline import Entry, utc
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.states import LEASE_MOVES, LeaseState, move
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import after_commit
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.outbox import say, say_each
from caravan_shared.plumbing.tracing import Carrier

_REPLACED_IN_S = 1.0  # the pool looks once at all that were taken meanwhile; making one takes far longer


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a lease. Times in seconds; None is the pool's default. `waits`: in a queue if need be."""

    lasts_s: int | None = None
    purpose: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    heartbeat_s: int | None = None
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Take:
    """Somebody takes from a pool, for a team. Made where that is asked: it is audited and traced as from there."""

    pool: Pool
    team: str
    holder: str
    wish: Wish
    by: Actor = field(default_factory=actor)
    trace: Carrier = field(default_factory=tracing.current)


@dataclass(frozen=True, slots=True)
class _Rush:
    """All who take from one pool together, and who had how many of its clusters before."""

    pool: Pool
    spec: PoolSpec
    takes: Sequence[Take]
    had: Shares


class Outcome(StrEnum):
    """What came of serving a lease that waits."""

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

    async def take(self, tx: AsyncSession, take: Take) -> Lease:
        """`take_each` for one. Raises what it is refused with."""
        (outcome,) = await self.take_each(tx, [take])
        if isinstance(outcome, CaravanError):
            raise outcome
        return outcome

    async def take_each(self, tx: AsyncSession, takes: Sequence[Take]) -> Sequence[Lease | CaravanError]:
        """A lease for each, first come first, or why it is refused: `Conflict`, `NotYet`, `Malformed`, `NotFound`.

        Held where a spare is ready and nobody came first, else Waiting.
        """
        places: dict[UUID, list[int]] = defaultdict(list)
        for place, take in enumerate(takes):
            places[take.pool.id].append(place)
        # Each kind in one order, or two who lock them would wait for each other.
        rushes = [await self._rush(tx, [takes[place] for place in places[pool_id]]) for pool_id in sorted(places)]
        left = dict(await leases_left(tx, {take.team for take in takes}))
        outcomes: dict[int, Lease | CaravanError] = {}
        for rush in rushes:
            outcomes |= zip(places[rush.pool.id], await self._take_of_pool(tx, rush, left), strict=True)
        taken = [(takes[place], lease) for place, lease in sorted(outcomes.items()) if isinstance(lease, Lease)]
        await self._tell_taken(tx, taken)
        return [outcomes[place] for place in range(len(takes))]

    async def _rush(self, tx: AsyncSession, takes: Sequence[Take]) -> _Rush:
        pool = takes[0].pool
        spec = PoolSpec.model_validate(pool.spec)
        return _Rush(pool, spec, takes, await self._shares(tx, pool, spec))

    async def _take_of_pool(
        self, tx: AsyncSession, rush: _Rush, left: dict[str, int | None]
    ) -> Sequence[Lease | CaravanError]:
        """What comes of takes from one pool. `left`, how many leases each team may still have, is kept up to date."""
        errors = [_why_refused(take, rush.spec, left) for take in rush.takes]
        good = [take for take, error in zip(rush.takes, errors, strict=True) if error is None]
        served = iter(await self._served(tx, rush, good, left))
        return [error or next(served) for error in errors]

    async def _served(
        self, tx: AsyncSession, rush: _Rush, takes: Sequence[Take], left: dict[str, int | None]
    ) -> Sequence[Lease | CaravanError]:
        spec, quotas = rush.spec, rush.spec.quotas
        takers = [Taker(take.team, take.holder, take.wish.waits) for take in takes]
        wanted = fates(takers, len(takers), rush.had, quotas, left).count(Fate.SERVED)
        now = self._clock.now()
        spares = await claim(tx, rush.pool, spec, [uuid4() for _ in range(wanted)], now, if_nobody_waits=True)
        found, ready = fates(takers, len(spares), rush.had, quotas, left), iter(spares)
        outcomes: list[Lease | CaravanError] = []
        for place, (take, fate) in enumerate(zip(takes, found, strict=True)):
            left[take.team] = less(left[take.team], fate)
            asked_at = now + timedelta(microseconds=place)  # no two at one moment: that is the order of the queue
            if fate is Fate.SERVED:
                outcomes.append(_granted(_new(take, spec, asked_at), next(ready), asked_at))
            elif fate is Fate.QUEUED:
                outcomes.append(_new(take, spec, asked_at))
            else:
                outcomes.append(_refusal(take, fate))
        return outcomes

    async def _tell_taken(self, tx: AsyncSession, taken: Sequence[tuple[Take, Lease]]) -> None:
        """Store new leases and tell of them, each on behalf of its taker."""
        for take, lease in taken:
            sign(lease, take.by)
            self._put(tx, lease)
        await say_each(tx, [(_news(lease), take.trace) for take, lease in taken])
        await self._recorder.note_each(tx, SOURCE, [_note(lease, take.pool) for take, lease in taken if lease.cluster])
        for _, lease in taken:
            self._tell(tx, lease, _REPLACED_IN_S if lease.cluster else 0.0)

    async def serve(self, tx: AsyncSession, pool: Pool, spec: PoolSpec, lease: Lease) -> Outcome:
        """Give a lease whose turn it is a spare if one is ready. `spec` is the pool's."""
        if not spec.quotas.allow(await self._shares(tx, pool, spec), lease.team, lease.holder):
            return Outcome.AT_LIMIT
        now = self._clock.now()
        spares = await claim(tx, pool, spec, [lease.id], now, if_nobody_waits=False)
        if not spares:
            return Outcome.NO_SPARE
        self._put(tx, _granted(lease, spares[0], now))
        await say(tx, _news(lease))
        await self._recorder.note_each(tx, SOURCE, [_note(lease, pool)])
        self._tell(tx, lease, _REPLACED_IN_S)
        return Outcome.SERVED

    async def _shares(self, tx: AsyncSession, pool: Pool, spec: PoolSpec) -> Shares:
        """Who has how many of the pool's clusters, until the commit, where that limits anybody."""
        if not spec.quotas.any:
            return Shares()
        await lock_pool(tx, pool)  # or two at once would both be the last that the quota allows
        return await shares(tx, pool)

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
        await self._note_of(tx, lease, cluster.team, text)
        self._tell(tx, lease)

    async def _delete_cluster(self, tx: AsyncSession, lease: Lease, reason: str) -> None:
        spare = await tx.get(PoolCluster, _cluster_of(lease), with_for_update=True)
        if spare:
            spare.leaving = True
            tx.add(spare)
        cluster = await lock_cluster(tx, _cluster_of(lease))
        assert cluster is not None, "clusters are never dropped"
        await self._note_of(tx, lease, cluster.team, f"The lease of {lease.holder} ended: {reason}")
        await self._desired.delete(tx, cluster, f"the pool {lease.pool}")

    def _put(self, tx: AsyncSession, lease: Lease) -> None:
        """Store it, with when something is next to be done about it."""
        lease.due_at = next_look(live(lease, self._listening_since))
        tx.add(lease)

    async def _note_of(self, tx: AsyncSession, lease: Lease, team: str, text: str) -> None:
        """Into the timeline of its cluster, which is that team's."""
        await self._recorder.note(tx, _cluster_of(lease), team, SOURCE, _entry(lease, text))

    def _tell(self, tx: AsyncSession, lease: Lease, look_in_s: float = 0.0) -> None:
        pool_id = lease.pool_id
        after_commit(tx, lambda: self._changed(pool_id, look_in_s))


async def lock_lease(tx: AsyncSession, lease_id: UUID) -> Lease | None:
    """The lease's row, locked until the transaction ends."""
    return (await tx.exec(select(Lease).where(Lease.id == lease_id).with_for_update())).one_or_none()


async def lock_pool(tx: AsyncSession, pool: Pool) -> Pool:
    """The pool's row as it is now, locked until the transaction ends."""
    return await tx.get_one(Pool, pool.id, with_for_update=True, populate_existing=True)


def _why_refused(take: Take, spec: PoolSpec, leases_left: Mapping[str, int | None]) -> CaravanError | None:
    """What is wrong with a take whatever the others do; None where nothing is."""
    if take.pool.deletion_asked_at:
        return Conflict(f"the pool {take.pool.name} is being deleted")
    if take.team not in leases_left:
        return NotFound(f"there is no team {take.team}")
    try:
        _lasts_s(take.wish, spec)
    except Malformed as error:
        return error
    return None


def _refusal(take: Take, fate: Fate) -> CaravanError:
    if fate is Fate.TEAM_FULL:
        return Conflict("your team has as many leases as it may: give one back, or ask an admin for a larger quota")
    return NotYet(f"no spare of the pool {take.pool.name} is ready: come again, or let `wait` be true")


def _new(take: Take, spec: PoolSpec, asked_at: datetime) -> Lease:
    pool, wish = take.pool, take.wish
    return Lease(
        id=uuid4(),
        pool_id=pool.id,
        pool=pool.name,
        team=take.team,
        holder=take.holder,
        purpose=wish.purpose,
        labels=dict(wish.labels),
        state=LeaseState.WAITING.value,
        asked_at=asked_at,
        heard_at=asked_at,
        lasts_s=_lasts_s(wish, spec),
        heartbeat_s=wish.heartbeat_s,
    )


def _granted(lease: Lease, spare: Spare, now: datetime) -> Lease:
    """The lease that the spare was claimed for, from now on."""
    lease.id = spare.lease_id
    lease.state = move(LEASE_MOVES, LeaseState(lease.state), LeaseState.HELD).value
    lease.granted_at, lease.heard_at, lease.ends_at = now, now, now + timedelta(seconds=lease.lasts_s)
    lease.cluster_id, lease.cluster = spare.cluster_id, spare.name
    return lease


def _news(lease: Lease) -> e.LeaseGranted | e.LeaseQueued:
    """What is told of a lease that was just granted, or else has joined the queue."""
    if lease.cluster is None:
        return e.LeaseQueued.model_validate(_about(lease))
    granted = {"cluster_id": lease.cluster_id, "cluster": lease.cluster, "ends_at": lease.ends_at}
    return e.LeaseGranted.model_validate(_about(lease) | granted)


def _note(lease: Lease, pool: Pool) -> tuple[UUID, str, Entry]:
    """What the timeline of a leased cluster, which is its pool's team's, says of that."""
    purpose = f", for: {lease.purpose}" if lease.purpose else ""
    assert lease.ends_at is not None, "a lease that was granted ends"
    return _cluster_of(lease), pool.team, _entry(lease, f"{lease.holder} leased it until {utc(lease.ends_at)}{purpose}")


def _entry(lease: Lease, text: str) -> Entry:
    return Entry("lease", text, {"lease_id": str(lease.id)})


def _lasts_s(wish: Wish, spec: PoolSpec) -> int:
    return _within("lasts_s", wish.lasts_s or spec.lease_s, spec.max_lease_s)


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
