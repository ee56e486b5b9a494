"""Leases on both databases: one worker a key, and one that was away too long can write nothing."""

import random

import pytest

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StaleLease
from caravan_shared.plumbing.leases import release
from tests.support.clock import ManualClock
from tests.support.replicas import LASTS, Replica, pauses
from tests.support.service import names

PAUSES = 200


async def test_second_replica_cannot_take_a_lease_that_is_held(db: Database) -> None:
    clock = ManualClock()
    lease = await Replica(db, clock, "a/1").take()
    assert lease
    assert lease.epoch == 1
    assert await Replica(db, clock, "b/1").take() is None
    assert await Replica(db, clock, "b/1").take("another key")


async def test_expired_lease_is_taken_under_a_higher_epoch(db: Database) -> None:
    clock = ManualClock()
    await Replica(db, clock, "a/1").take()
    clock.advance(LASTS.total_seconds())
    lease = await Replica(db, clock, "b/1").take()
    assert lease
    assert (lease.holder, lease.epoch) == ("b/1", 2)


async def test_each_transaction_of_a_turn_renews_the_lease(db: Database) -> None:
    clock = ManualClock()
    a = Replica(db, clock, "a/1")
    lease = await a.take()
    assert lease
    for number in range(3):
        clock.advance(10)
        await a.write(lease, f"item-{number}")
    assert await Replica(db, clock, "b/1").take() is None


async def test_stopped_replica_that_wakes_up_after_a_takeover_writes_nothing(db: Database) -> None:
    stopped, clock = ManualClock(), ManualClock()
    a, b = Replica(db, stopped, "a/1"), Replica(db, clock, "b/1")
    mine = await a.take()
    assert mine
    clock.advance(60)
    theirs = await b.take()
    assert theirs
    with pytest.raises(StaleLease, match="key moved on from epoch 1"):
        await a.write(mine, "stale")
    await b.write(theirs, "fresh")
    assert await names(db) == ["fresh"]


async def test_holder_whose_lease_expired_unnoticed_may_go_on(db: Database) -> None:
    clock = ManualClock()
    a = Replica(db, clock, "a/1")
    lease = await a.take()
    assert lease
    clock.advance(3600)
    await a.write(lease, "late")
    assert await Replica(db, clock, "b/1").take() is None


async def test_restarted_replica_takes_its_own_leases_over_at_once(db: Database) -> None:
    clock = ManualClock()
    before = Replica(db, clock, "a/boot-1")
    old = await before.take()
    new = await Replica(db, clock, "a/boot-2").take()
    assert old
    assert new
    assert new.epoch == 2
    with pytest.raises(StaleLease):
        await before.write(old, "ghost")


async def test_replica_whose_name_another_begins_with_is_not_taken_for_it(db: Database) -> None:
    clock = ManualClock()
    await Replica(db, clock, "api_1/boot").take()
    assert await Replica(db, clock, "api/boot").take() is None
    assert await Replica(db, clock, "api%/boot").take() is None
    assert await Replica(db, clock, "apix1/boot").take() is None


async def test_released_lease_is_free_at_once(db: Database) -> None:
    clock = ManualClock()
    lease = await Replica(db, clock, "a/1").take()
    assert lease
    async with db.transaction() as tx:
        await release(tx, lease, clock.now())
    assert await Replica(db, clock, "b/1").take()


async def test_no_stale_write_in_two_hundred_random_pauses(db: Database) -> None:
    stale = await pauses(db, PAUSES, random.Random(7))
    assert stale > PAUSES / 10, "too few pauses outlived the lease to prove anything"
