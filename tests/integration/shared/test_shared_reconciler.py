"""The loop every service turns: who is looked at, when, by how many at once, and what an error does."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.clock import Clock, SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import GiveUp, Retry, StaleLease
from caravan_shared.plumbing.leases import acquire
from caravan_shared.plumbing.reconciler import Reconciler, Turn, back_off_s
from caravan_shared.plumbing.tables import LEASES
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.service import Item, open_store

Look = Callable[[Turn], Awaitable[float | None]]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        yield db


class Worker:
    """Remembers every turn: when it began and ended, and what it gave up on."""

    def __init__(self, look: Look | None = None) -> None:
        self.look = look
        self.began: dict[str, list[float]] = defaultdict(list)
        self.running: set[str] = set()
        self.most_at_once = 0
        self.overlapped = False
        self.gave_up: list[tuple[str, str]] = []
        self.live: list[str] = []

    async def reconcile(self, turn: Turn) -> float | None:
        self.overlapped |= turn.key in self.running
        self.running.add(turn.key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.began[turn.key].append(asyncio.get_running_loop().time())
        try:
            return await self.look(turn) if self.look else None
        finally:
            self.running.discard(turn.key)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        self.gave_up.append((turn.key, error.reason))
        async with turn.transaction() as tx:
            tx.add(Item(name=f"failed-{turn.key}"))

    async def live_keys(self, session: AsyncSession) -> list[str]:
        return self.live

    def turns(self, key: str = "key") -> int:
        return len(self.began[key])

    def gaps(self, key: str = "key") -> list[float]:
        """Seconds from one turn's begin to the next one's, to the millisecond, by the loop's clock, as they are due."""
        times = self.began[key]
        return [round(times[number + 1] - times[number], 3) for number in range(len(times) - 1)]


@asynccontextmanager
async def turning(
    db: Database, worker: Worker, *, clock: Clock | None = None, instance: str = "a", **options: Any
) -> AsyncIterator[Reconciler]:
    reconciler = Reconciler(
        db,
        clock or SystemClock(),
        worker.reconcile,
        worker.give_up,
        worker.live_keys,
        instance=instance,
        **{"workers": 16, "lease_s": 15.0, "resync_every_s": 60.0, **options},
    )
    running = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()


async def test_key_has_one_turn_at_a_time_and_runs_once_more_if_woken_meanwhile(db: Database) -> None:
    go_on = asyncio.Event()

    async def look(turn: Turn) -> None:
        await go_on.wait()

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.running)
        for _ in range(5):
            reconciler.wake("key")
        await asyncio.sleep(0.1)
        assert worker.turns() == 1
        go_on.set()
        await eventually(lambda: worker.turns() == 2)
        await asyncio.sleep(0.1)
    assert worker.turns() == 2
    assert not worker.overlapped


async def test_many_keys_are_worked_on_side_by_side_up_to_the_limit(db: Database) -> None:
    async def look(turn: Turn) -> None:
        await asyncio.sleep(0.1)

    worker = Worker(look)
    async with turning(db, worker, workers=8) as reconciler:
        for number in range(24):
            reconciler.wake(f"key-{number}")
        await eventually(lambda: sum(map(len, worker.began.values())) == 24 and not worker.running)
    assert worker.most_at_once == 8


async def test_slow_key_does_not_hold_up_others(db: Database) -> None:
    never = asyncio.Event()

    async def look(turn: Turn) -> None:
        if turn.key == "slow":
            await never.wait()

    worker = Worker(look)
    async with turning(db, worker, workers=2) as reconciler:
        reconciler.wake("slow")
        for number in range(10):
            reconciler.wake(f"key-{number}")
        await eventually(lambda: len(worker.began) == 11)


async def test_earliest_of_several_wakes_wins(db: Database) -> None:
    worker = Worker()
    async with turning(db, worker) as reconciler:
        started = asyncio.get_running_loop().time()
        reconciler.wake("key", after=60)
        reconciler.wake("key", after=0.2)
        reconciler.wake("key", after=30)
        await eventually(lambda: worker.turns())
        await asyncio.sleep(0.3)
    assert round(worker.began["key"][0] - started, 3) >= 0.2
    assert worker.turns() == 1


async def test_wake_during_a_turn_is_not_put_off_by_what_the_turn_returns(db: Database) -> None:
    async def look(turn: Turn) -> float:
        if worker.turns() == 1:
            reconciler.wake("key", after=0.1)
        return 60.0

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.turns() == 2)


async def test_turn_says_when_to_look_again(db: Database) -> None:
    async def look(turn: Turn) -> float | None:
        return 0.2 if worker.turns() < 3 else None

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.turns() == 3)
        await asyncio.sleep(0.3)
    assert worker.turns() == 3
    assert all(gap >= 0.2 for gap in worker.gaps())


async def test_retry_comes_again_no_earlier_than_it_says(db: Database) -> None:
    async def look(turn: Turn) -> None:
        if worker.turns() < 4:
            raise Retry("the cloud is busy", after=0.2)

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.turns() == 4)
    assert all(0.2 <= gap < 1 for gap in worker.gaps())


async def test_unexpected_errors_back_off_further_each_time_and_harm_no_other_key(db: Database) -> None:
    async def look(turn: Turn) -> None:
        if turn.key == "broken":
            raise ZeroDivisionError

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("broken")
        await eventually(lambda: worker.turns("broken") == 3)
        reconciler.wake("well")
        await eventually(lambda: worker.turns("well"))
    first, second = worker.gaps("broken")
    assert first >= 0.5
    assert second >= 1.0


@pytest.mark.parametrize("failures", [1, 2, 5, 50, 5000])
def test_back_off_doubles_up_to_a_minute_however_often_a_turn_failed(failures: int) -> None:
    for _ in range(20):
        assert min(60.0, 0.5 * 2.0 ** min(failures, 10)) / 2 <= back_off_s(failures) <= 60.0


async def test_give_up_is_recorded_and_not_tried_again(db: Database) -> None:
    async def look(turn: Turn) -> None:
        raise GiveUp("quota is used up", who_can_fix=WhoCanFix.OPERATOR)

    worker = Worker(look)
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.gave_up)
        await asyncio.sleep(0.3)
    assert worker.gave_up == [("key", "quota is used up")]
    assert worker.turns() == 1
    async with db.reading() as session:
        assert list(await session.exec(select(Item.name))) == ["failed-key"]


async def test_failure_that_cannot_be_recorded_is_tried_again(db: Database) -> None:
    async def look(turn: Turn) -> None:
        raise GiveUp("quota is used up", who_can_fix=WhoCanFix.OPERATOR)

    worker = Worker(look)
    record, refused = worker.give_up, list[str]()

    async def refuse_once(turn: Turn, error: GiveUp) -> None:
        if not refused:
            refused.append(turn.key)
            raise OSError("disk full")
        await record(turn, error)

    worker.give_up = refuse_once  # type: ignore[method-assign]
    async with turning(db, worker) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.gave_up)


async def test_resync_wakes_every_live_key_at_start_and_now_and_then(db: Database) -> None:
    worker = Worker()
    worker.live = ["a", "b"]
    async with turning(db, worker, resync_every_s=0.2):
        await eventually(lambda: worker.turns("a") >= 3 and worker.turns("b") >= 3)


async def test_replicas_do_not_work_on_the_same_key(db: Database) -> None:
    go_on = asyncio.Event()

    async def look(turn: Turn) -> None:
        await go_on.wait()

    one, two = Worker(look), Worker(look)
    async with turning(db, one, instance="a") as first, turning(db, two, instance="b", lease_s=0.4) as second:
        first.wake("key")
        await eventually(lambda: one.running)
        second.wake("key")
        await asyncio.sleep(0.6)
        assert two.turns() == 0
        go_on.set()


async def test_key_of_a_replica_that_stopped_is_free_at_once(db: Database) -> None:
    one, two = Worker(), Worker()
    async with turning(db, one, instance="a") as first:
        first.wake("key")
        await eventually(lambda: one.turns())
    async with turning(db, two, instance="b") as second:
        second.wake("key")
        await eventually(lambda: two.turns(), within=2)


async def test_turn_that_keeps_its_lease_has_it_for_as_long_as_its_work_takes(db: Database) -> None:
    clock, go_on = ManualClock(), asyncio.Event()
    lasts = timedelta(seconds=0.3)

    async def look(turn: Turn) -> None:
        async with turn.kept():
            await go_on.wait()

    async def is_free() -> bool:
        async with db.transaction() as tx:
            return await acquire(tx, "key", "b/1", clock.now(), lasts) is not None

    async def is_renewed() -> bool:
        async with db.reading() as session:
            rows = await (await session.connection()).execute(select(LEASES.c.until))
        return bool(rows.scalar_one() == clock.now() + lasts)

    worker = Worker(look)
    async with turning(db, worker, instance="a", clock=clock, lease_s=lasts.total_seconds()) as reconciler:
        reconciler.wake("key")
        await eventually(lambda: worker.running)
        for _ in range(3):
            clock.advance(0.2)
            await eventually(is_renewed)
            assert not await is_free()
        go_on.set()
        await eventually(lambda: not worker.running)


async def test_replica_that_was_stopped_past_its_lease_drops_its_turn(db: Database) -> None:
    stopped, clock, go_on = ManualClock(), ManualClock(), asyncio.Event()
    errors: list[Exception] = []

    async def stopped_in_the_middle(turn: Turn) -> None:
        await go_on.wait()
        try:
            async with turn.transaction() as tx:
                tx.add(Item(name="stale"))
        except StaleLease as error:
            errors.append(error)
            raise

    async def write(turn: Turn) -> None:
        async with turn.transaction() as tx:
            tx.add(Item(name="fresh"))

    one, two = Worker(stopped_in_the_middle), Worker(write)
    async with (
        turning(db, one, instance="a", clock=stopped) as first,
        turning(db, two, instance="b", clock=clock) as second,
    ):
        first.wake("key")
        await eventually(lambda: one.running)
        clock.advance(60)
        second.wake("key")
        await eventually(lambda: two.turns() and not two.running)
        go_on.set()
        await eventually(lambda: errors)
    async with db.reading() as session:
        assert list(await session.exec(select(Item.name))) == ["fresh"]
