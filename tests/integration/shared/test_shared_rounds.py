"""Rounds of scheduled work: one replica has each, and the work goes on when that one is gone."""

import asyncio

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.rounds import Rounds
from tests.support.clock import ManualClock

EVERY_S = 300.0


async def test_each_round_is_one_replicas_whichever_comes_first(db: Database) -> None:
    clock = ManualClock()
    replicas = [Rounds(db, clock, name) for name in ("one", "other", "third")]
    for _ in range(3):
        assert sum(await asyncio.gather(*(each.is_ours("work", EVERY_S) for each in replicas))) == 1
        clock.advance(EVERY_S)


async def test_replica_that_had_a_round_has_the_next_and_its_next_life_has_it_at_once(db: Database) -> None:
    clock = ManualClock()
    one, other = Rounds(db, clock, "one"), Rounds(db, clock, "other")
    assert await one.is_ours("work", EVERY_S)
    clock.advance(EVERY_S - 1)
    assert not await other.is_ours("work", EVERY_S)
    assert await one.is_ours("work", EVERY_S)
    clock.advance(EVERY_S - 1)
    assert not await other.is_ours("work", EVERY_S)
    assert await Rounds(db, clock, "one").is_ours("work", EVERY_S)


async def test_work_of_a_replica_that_died_is_anothers_once_its_round_is_over(db: Database) -> None:
    clock = ManualClock()
    assert await Rounds(db, clock, "dead").is_ours("work", EVERY_S)
    other = Rounds(db, clock, "other")
    assert not await other.is_ours("work", EVERY_S)
    clock.advance(EVERY_S)
    assert await other.is_ours("work", EVERY_S)


async def test_rounds_of_different_work_have_nothing_to_do_with_each_other(db: Database) -> None:
    clock = ManualClock()
    assert await Rounds(db, clock, "one").is_ours("work", EVERY_S)
    assert await Rounds(db, clock, "other").is_ours("other work", EVERY_S)
