"""The loop every service turns: wake a key, take its lease, look at the store, act in small steps, look again.

Level-triggered: a wake-up says only "look at this key". Keys wait in one queue with a due time; a key is worked on by
one turn at a time, here (a woken running key runs once more) and across replicas (`leases`). Failures back off with
jitter; a resync wakes every live key now and then, whatever was lost.
"""

import asyncio
import heapq
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

from prometheus_client import Counter, Gauge, Histogram
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing import traces, tracing
from caravan_shared.plumbing.away import once_back
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import GiveUp, Retry, StaleLease, StoreAway
from caravan_shared.plumbing.leases import Lease, acquire, fence, new_holder, release
from caravan_shared.plumbing.log import bound, get_logger
from caravan_shared.plumbing.tracing import Carrier
from caravan_shared.plumbing.waiting import is_set_within

_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 60.0
_MOST_DOUBLINGS = 10  # beyond the longest back-off already; a float overflows at a thousand

_RENEWED_AFTER = 1 / 3  # of the time that a lease lasts: one renewal may be late

CLUSTER = "cluster"

_TURNS = Counter("caravan_turns_total", "Turns of the reconciler by how they ended.", ["kind", "result"])
_SECONDS = Histogram(
    "caravan_turn_seconds",
    "Seconds of a turn of the reconciler.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
_LATE = Histogram(
    "caravan_turn_late_seconds",
    "From the time a turn was due to its start: all workers were busy.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
_QUEUED = Gauge("caravan_keys_queued", "Keys that wait for a turn, due or not.")
_RUNNING = Gauge("caravan_turns_running", "Turns under way.")
_WORKERS = Gauge("caravan_turns_most", "Turns that there may be side by side.")

log = get_logger(__name__)


class Turn:
    """One look at one key, under its lease. All writing goes through `transaction`."""

    def __init__(self, key: str, lease: Lease, db: Database, clock: Clock, lasts: timedelta) -> None:
        self.key, self.epoch = key, lease.epoch
        self._lease, self._db, self._clock, self._lasts = lease, db, clock, lasts

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return self._clock.now()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A write transaction that only commits while the lease is ours; raises `StaleLease` otherwise."""
        async with self._db.transaction() as tx:
            await fence(tx, self._lease, self._clock.now(), self._lasts)
            yield tx

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session to read with."""
        return self._db.reading()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease while the block runs: around what may take longer. Raises `StaleLease` at its end."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
        if not renewing.cancelled():
            renewing.result()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lasts.total_seconds() * _RENEWED_AFTER)
            async with self.transaction():
                pass


Reconcile = Callable[[Turn], Awaitable[float | None]]
RecordFailure = Callable[[Turn, GiveUp], Awaitable[None]]
LiveKeys = Callable[[AsyncSession], Awaitable[list[str]]]


class Reconciler:
    """Runs `reconcile` for every key that is woken; `run` works until cancelled."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        reconcile: Reconcile,
        give_up: RecordFailure,
        live_keys: LiveKeys,
        *,
        instance: str,
        workers: int,
        lease_s: float,
        resync_every_s: float,
    ) -> None:
        self._db, self._clock = db, clock
        self._reconcile, self._give_up, self._live_keys = reconcile, give_up, live_keys
        self._holder = new_holder(instance)
        self._workers, self._lasts, self._resync_every_s = workers, timedelta(seconds=lease_s), resync_every_s
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._woken = asyncio.Event()
        self._running: set[str] = set()
        self._again: dict[str, float] = {}
        self._leases: dict[str, Lease] = {}
        self._failures: dict[str, int] = {}

    def wake(self, key: str, after: float = 0.0) -> None:
        """Look at `key` in `after` seconds, or earlier if somebody else asked for that."""
        due = asyncio.get_running_loop().time() + after
        if key in self._running:
            self._again[key] = min(due, self._again.get(key, due))
        elif due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._woken.set()

    async def run(self) -> None:
        """Take turns until cancelled."""
        _WORKERS.set(self._workers)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._resync())
                slots = asyncio.Semaphore(self._workers)
                while True:
                    await slots.acquire()
                    key = await self._next()
                    group.create_task(self._take_turn(key)).add_done_callback(lambda _: slots.release())
        finally:
            await self._release_all()

    async def _next(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            while self._heap and self._heap[0][0] <= loop.time():
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) == due:  # otherwise it was woken for earlier and has had its turn
                    del self._due[key]
                    self._running.add(key)
                    _QUEUED.set(len(self._due))
                    _LATE.observe(loop.time() - due)
                    return key
            wait = self._heap[0][0] - loop.time() if self._heap else None
            await is_set_within(self._woken, wait)

    async def _take_turn(self, key: str) -> None:
        after: float | None = None
        try:
            kind = kind_of(key)
            with (
                bound(key=key, **({"cluster": key} if kind == CLUSTER else {})),
                _RUNNING.track_inprogress(),
                _SECONDS.labels(kind).time(),
            ):
                after, result = await self._outcome(key)
            _TURNS.labels(kind, result).inc()
        finally:
            self._running.discard(key)
            again = self._again.pop(key, None)
            if again is not None:
                self.wake(key, max(0.0, again - asyncio.get_running_loop().time()))
            if after is not None:
                self.wake(key, after)

    async def _outcome(self, key: str) -> tuple[float | None, str]:
        """Take the turn; say in how many seconds to look again, and how it ended."""
        try:
            turn = await self._begin(key)
            if turn is None:
                return self._lasts.total_seconds() * random.uniform(0.5, 1.0), "held"  # noqa: S311 (jitter)
            with tracing.turn(f"reconcile {kind_of(key)}", await self._trace(key), {"caravan.key": key}):
                after = await self._step(turn)
        except Retry as error:
            log.info("will try again", reason=error.reason, after_s=error.after)
            return error.after * random.uniform(1.0, 1.2), "retry"  # noqa: S311 (jitter)
        except StaleLease as error:
            log.warning("lost the lease; dropping this turn", reason=error.reason)
            self._leases.pop(key, None)
            return self._lasts.total_seconds(), "stale"
        except Exception:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = back_off_s(failures)
            log.exception("turn failed; backing off", failures=failures, after_s=round(delay, 1))
            return delay, "error"
        self._failures.pop(key, None)
        return after, "done"

    async def _step(self, turn: Turn) -> float | None:
        try:
            return await self._reconcile(turn)
        except GiveUp as error:
            log.error("gave up", reason=error.reason, who_can_fix=error.who_can_fix)
            tracing.fail(error.reason)
            await self._give_up(turn, error)
            return None

    async def _trace(self, key: str) -> Carrier:
        """The trace of whatever the key is about."""
        if not tracing.is_on():
            return {}
        async with self._db.reading() as session:
            found = await traces.of(session, [key.rpartition("/")[2]], self._clock.now())
        return next(iter(found.values()), {})

    async def _begin(self, key: str) -> Turn | None:
        """Keep a lease that has half of its time left (each transaction renews it), else take it anew."""
        now = self._clock.now()
        lease = self._leases.get(key)
        if lease is None or lease.until - now < self._lasts / 2:
            async with self._db.transaction() as tx:
                lease = await acquire(tx, key, self._holder, now, self._lasts)
            if lease is None:
                self._leases.pop(key, None)
                return None
            self._leases[key] = lease
        return Turn(key, lease, self._db, self._clock, self._lasts)

    async def _resync(self) -> None:
        while True:
            await once_back(self._wake_all, "a look at all keys")  # turns that are under way go on meanwhile
            await asyncio.sleep(self._resync_every_s * random.uniform(0.9, 1.1))  # noqa: S311 (jitter)

    async def _wake_all(self) -> None:
        async with self._db.reading() as session:
            keys = await self._live_keys(session)
        for key in keys:
            self.wake(key)

    async def _release_all(self) -> None:
        leases, self._leases = self._leases, {}
        try:
            async with self._db.transaction() as tx:
                for lease in leases.values():
                    await release(tx, lease, self._clock.now())
        except StoreAway as error:
            log.warning("leases are not given back; others wait until they end", reason=error.reason)


def kind_of(key: str) -> str:
    """What a key stands for: `pool/7f…` for a pool, a bare id for a cluster."""
    return key.rpartition("/")[0] or CLUSTER


def back_off_s(failures: int) -> float:
    """Seconds to leave a key alone after so many failed turns in a row, with jitter."""
    doubled = _FIRST_BACK_OFF_S * 2.0 ** min(failures, _MOST_DOUBLINGS)
    return min(_LONGEST_BACK_OFF_S, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
