"""What a run tells while it lasts: its newest step, and none once it has ended; and what stays of its log."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from caravan_bootstrapper import logs
from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.progress import REPORT_EVERY_S, telling
from caravan_bootstrapper.reading import Reading
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.contracts.requests import AskRunLog, AskRuns
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.tables import OUTBOX
from tests.support.database_away import Switch
from tests.support.eventually import eventually
from tests.support.store import opened

MOST = 100  # characters of a log


@pytest.fixture(scope="module")
async def db(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    path: Path = tmp_path_factory.mktemp("progress") / "store.db"
    async with opened(Database(f"sqlite+aiosqlite:///{path}", Table.metadata, MIGRATIONS)) as database:
        yield database


async def running(db: Database, cluster_id: UUID | None = None) -> Run:
    now = datetime.now(UTC)
    run = Run(
        id=uuid4(),
        cluster_id=cluster_id or uuid4(),
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

    async with telling(db, SystemClock(), run.id, MOST) as said:
        said.reached("kubelet", 7)
        await eventually(told)


@pytest.mark.parametrize("ticks", range(8))
async def test_a_step_just_before_the_end_keeps_nobody_waiting(db: Database, ticks: int) -> None:
    run = await running(db)
    async with asyncio.timeout(3):
        async with telling(db, SystemClock(), run.id, MOST) as said:
            await asyncio.sleep(0.01)
            said.reached("verify", 40)
            for _ in range(ticks):
                await asyncio.sleep(0)


async def test_all_that_was_printed_is_kept_and_read_from_its_end_page_by_page(db: Database) -> None:
    run, reading = await running(db), Reading(db)
    async with telling(db, SystemClock(), run.id, MOST) as said:
        said.printed("one\n")
        await eventually(lambda: said.start, saying="the first line is stored")
        said.printed("two\n")
        said.printed("three\n")
    last = await reading.log(AskRunLog(cluster_id=run.cluster_id, run_id=run.id, limit=8))
    assert (last.text, last.offset, last.first, last.end) == ("o\nthree\n", 6, 0, 14)
    before = await reading.log(AskRunLog(cluster_id=run.cluster_id, run_id=run.id, offset=0, limit=last.offset))
    assert before.text + last.text == "one\ntwo\nthree\n"
    foreign = await reading.log(AskRunLog(cluster_id=uuid4(), run_id=run.id))
    assert (foreign.run, foreign.text) == (None, "")


async def test_of_a_long_log_the_end_is_kept(db: Database) -> None:
    run, reading = await running(db), Reading(db)
    for part in range(0, 3 * MOST, 60):
        async with db.transaction() as tx:
            await logs.keep(tx, run.id, part, f"{part:<60}", MOST)
    told = await reading.log(AskRunLog(cluster_id=run.cluster_id, run_id=run.id, offset=0))
    assert (told.first, told.offset, told.end) == (180, 180, 300), "pieces go as a whole"
    async with db.transaction() as tx:
        await logs.keep(tx, run.id, 300, "x" * 3 * MOST, MOST)
    told = await reading.log(AskRunLog(cluster_id=run.cluster_id, run_id=run.id))
    assert (told.first, told.end, told.text) == (500, 600, "x" * MOST)


async def test_the_logs_of_the_newest_runs_are_kept_and_none_of_a_forgotten_cluster(db: Database) -> None:
    reading, cluster_id = Reading(db), uuid4()
    runs = [await running(db, cluster_id) for _ in range(3)]
    for run in runs:
        async with db.transaction() as tx:
            await logs.keep(tx, run.id, 0, "a line\n", MOST)

    async def kept() -> list[str]:
        asked = [AskRunLog(cluster_id=cluster_id, run_id=run.id) for run in runs]
        return [(await reading.log(each)).text for each in asked]

    async with db.transaction() as tx:
        await logs.forget_older(tx, cluster_id, 2)
    assert await kept() == ["", "a line\n", "a line\n"]
    listed = await reading.runs(AskRuns(cluster_id=cluster_id, limit=2))
    assert ([run.run_id for run in listed.items], listed.more) == ([runs[2].id, runs[1].id], True)
    earlier = await reading.runs(AskRuns(cluster_id=cluster_id, before=runs[1].id))
    assert ([run.run_id for run in earlier.items], earlier.more) == ([runs[0].id], False)
    async with db.transaction() as tx:
        await logs.forget_all(tx, cluster_id)
        await logs.keep(tx, uuid4(), 0, "of a run that is forgotten", MOST)
    assert await kept() == ["", "", ""]


async def test_run_whose_store_was_away_is_told_of_and_beats_on(postgres_url: str) -> None:
    async with opened(Database(postgres_url, Table.metadata, MIGRATIONS)) as db, Switch.of(postgres_url) as switch:
        run, reading = await running(db), Reading(db)
        async with telling(db, SystemClock(), run.id, MOST) as said:
            await switch.off()
            said.reached("kubelet", 7)
            said.printed("one\n")
            await asyncio.sleep(1.5 * REPORT_EVERY_S)
            await switch.on()
            await eventually(lambda: said.start, saying="what was printed meanwhile is stored")
        assert (await reading.log(AskRunLog(cluster_id=run.cluster_id, run_id=run.id))).text == "one\n"
        async with db.reading() as session:
            assert (await session.get_one(Run, run.id)).step == "kubelet"
