"""A stale worker is powerless: who was stopped past its lease and goes on writes nothing, whatever it was about."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pytest
from sqlmodel import col, select

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import LEASES
from tests.promises.sizes import PAUSES_BY_THE_CLOCK, PROCESSES_STOPPED
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.replicas import pauses
from tests.support.service import Noted, open_store
from tests.support.worker import KEY, Worker, worker

LEASE_S = 0.4
TAKEN_OVER_WITHIN_S = 4.0
MOST_UNLUCKY = 10
"""Stops with the store's own lock in hand, beyond one for each that counts: then nobody can take over."""


@pytest.mark.promises(PAUSES_BY_THE_CLOCK)
async def test_replicas_that_pause_at_random_never_write_under_a_lease_that_is_another_ones(
    trial: Trial, tmp_path: Path
) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        stale = await pauses(db, trial.asked, trial.dice)
    trial.did(trial.asked)
    trial.figures["writes refused"] = stale
    assert stale > trial.asked / 10, "too few pauses outlived the lease to prove anything"


@pytest.mark.promises(PROCESSES_STOPPED)
async def test_processes_stopped_past_their_lease_write_nothing_when_they_go_on(trial: Trial, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.db"
    async with (
        open_store(url) as db,
        worker(tmp_path, url, "one", LEASE_S) as one,
        worker(tmp_path, url, "two", LEASE_S) as two,
    ):
        workers, unlucky = {one.name: one, two.name: two}, 0
        await eventually(lambda: _has_begun(db), saying="somebody works")
        while trial.goes_on:
            await asyncio.sleep(trial.dice.uniform(0, 0.1))
            if await _stop_the_holder(db, workers):
                trial.did()
            else:
                unlucky += 1
                assert unlucky < trial.asked + MOST_UNLUCKY, "most were stopped with the store's own lock in hand"
        rows = await _noted(db)
        refused = one.came_too_late() + two.came_too_late()
    trial.figures |= {"writes": len(rows), "writes refused": refused}
    assert refused > trial.asked / 4, "too few had something to write when they went on to prove anything"
    _judge(rows)


async def _stop_the_holder(db: Database, workers: dict[str, Worker]) -> bool:
    """Stop whoever works until the other has written in its place; False where the store's lock did not let it."""
    holder, epoch = await _holder(db)
    workers[holder].pause()
    try:
        with suppress(AssertionError):
            await eventually(lambda: _wrote_since(db, epoch), within=TAKEN_OVER_WITHIN_S, every=0.02)
            return True
    finally:
        workers[holder].go_on()
    return False


def _judge(rows: list[Noted]) -> None:
    epochs = [row.number for row in rows]
    assert epochs == sorted(epochs), "somebody wrote under an epoch that was over"
    writers = defaultdict(set)
    for row in rows:
        writers[row.number].add(row.event_id)
    assert max(map(len, writers.values())) == 1, "two wrote under one epoch"


async def _holder(db: Database) -> tuple[str, int]:
    async with db.reading() as session:
        holder, epoch = (await session.exec(select(LEASES.c.holder, LEASES.c.epoch).where(LEASES.c.key == KEY))).one()
    return holder.partition("/")[0], epoch


async def _has_begun(db: Database) -> bool:
    async with db.reading() as session:
        return (await session.exec(select(Noted.id).limit(1))).first() is not None


async def _wrote_since(db: Database, epoch: int) -> bool:
    async with db.reading() as session:
        newest = (await session.exec(select(Noted.number).order_by(col(Noted.id).desc()).limit(1))).first()
    return newest is not None and newest > epoch


async def _noted(db: Database) -> list[Noted]:
    async with db.reading() as session:
        return list(await session.exec(select(Noted).order_by(col(Noted.id))))
