"""Replicas of a service that work on one key and stop now and then: what may they still write afterwards?"""

import random
from dataclasses import dataclass
from datetime import timedelta

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StaleLease
from caravan_shared.plumbing.leases import Lease, acquire
from caravan_shared.plumbing.reconciler import Turn
from tests.support.clock import ManualClock
from tests.support.service import Item, names

LASTS = timedelta(seconds=15)
LONGEST_STOP_S = 30.0
"""So far a clock is behind at most: two that went astray would leave the key to one of them for ever."""


@dataclass
class Replica:
    """One process that works on a key; its clock stands still while the process is stopped (SIGSTOP)."""

    db: Database
    clock: ManualClock
    holder: str

    async def take(self, key: str = "key") -> Lease | None:
        """The lease, if it may be had now."""
        async with self.db.transaction() as tx:
            return await acquire(tx, key, self.holder, self.clock.now(), LASTS)

    async def write(self, lease: Lease, name: str) -> None:
        """Write an item in a turn under the lease; raises `StaleLease`."""
        turn = Turn(lease.key, lease, self.db, self.clock, LASTS)
        async with turn.transaction() as tx:
            tx.add(Item(name=name, value=lease.epoch))


async def pauses(db: Database, count: int, choose: random.Random) -> int:
    """Let two replicas work on one key; before each write, its worker may stop for longer or shorter than the lease.

    Fails where one writes that is not the owner. Returns how many writes came too late and were refused.
    """
    replicas = [Replica(db, ManualClock(), "a/1"), Replica(db, ManualClock(), "b/1")]
    held: dict[str, Lease] = {}
    owner, stale, expected = "", 0, []
    began, passed_s = replicas[0].clock.now(), 0.0
    for step in range(count):
        running = choose.choice(replicas)
        passed_s += choose.uniform(0, 12)
        for replica in replicas:
            behind_s = choose.uniform(0, LONGEST_STOP_S)
            replica.clock.advance(max(0.0, passed_s - behind_s - (replica.clock.now() - began).total_seconds()))
        fresh = await running.take()
        if fresh:
            held[running.holder], owner = fresh, running.holder
        for replica in choose.sample(replicas, 2):
            lease = held.get(replica.holder)
            if lease is None:
                continue
            name = f"{step}-{replica.holder}"
            try:
                await replica.write(lease, name)
            except StaleLease:
                stale += 1
                assert replica.holder != owner
            else:
                expected.append(name)
                assert replica.holder == owner, "a stale holder wrote"
    assert await names(db) == sorted(expected)
    return stale
