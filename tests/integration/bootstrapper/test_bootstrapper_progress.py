"""What a run tells while it lasts: its newest step, and nothing once it has ended."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.support.eventually import eventually
from tests.support.service import opened

from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.progress import telling
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import OUTBOX


@pytest.fixture(scope="module")
async def db(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    path: Path = tmp_path_factory.mktemp("progress") / "store.db"
    async with opened(Database(f"sqlite+aiosqlite:///{path}", Table.metadata, MIGRATIONS)) as database:
        yield database


async def running(db: Database) -> Run:
    now = datetime.now(UTC)
    run = Run(
        id=uuid4(),
        cluster_id=uuid4(),
        play=Play.SITE,
        nodes=["a"],
        version="1.34.2",
        generation=1,
        state=RunState.RUNNING,
        owner="test",
        beat_at=now,
        created_at=now,
    )
    async with db.transaction() as tx:
        tx.add(run)
    return run


async def test_a_step_is_stored_and_said(db: Database) -> None:
    run = await running(db)

    async def told() -> bool:
        async with db.reading() as session:
            stored = await session.get(Run, run.id)
            said = (await session.exec(select(OUTBOX.c.subject).where(OUTBOX.c.about == str(run.cluster_id)))).all()
        assert stored
        return stored.step == "kubelet" and stored.step_number == 7 and len(said) == 1

    async with telling(db, SystemClock(), run.id) as on_step:
        on_step("kubelet", 7)
        await eventually(told)


@pytest.mark.parametrize("ticks", range(8))
async def test_a_step_just_before_the_end_keeps_nobody_waiting(db: Database, ticks: int) -> None:
    run = await running(db)
    async with asyncio.timeout(3):
        async with telling(db, SystemClock(), run.id) as on_step:
            await asyncio.sleep(0.01)
            on_step("verify", 40)
            for _ in range(ticks):
                await asyncio.sleep(0)
