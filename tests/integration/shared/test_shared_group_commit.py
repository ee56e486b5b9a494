"""Many small SQLite transactions that share a sync: each stands or falls alone, and none is told done too early."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.database import Database
from tests.support.service import Item, names, open_store

_SLOW = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        yield db


def on_disk(db: Database) -> list[str]:
    """What another process sees: committed rows only."""
    with sqlite3.connect(db.url.split(":///", 1)[1]) as connection:
        rows = connection.execute("SELECT name FROM item ORDER BY name").fetchall()
    connection.close()
    return [name for (name,) in rows]


async def add(db: Database, name: str) -> None:
    async with db.transaction() as tx:
        tx.add(Item(name=name))


async def test_error_in_one_member_undoes_only_its_part(db: Database) -> None:
    async def fail(name: str) -> None:
        async with db.transaction() as tx:
            tx.add(Item(name=name))
            await tx.flush()
            raise ValueError(name)

    tasks = [add(db, f"good-{number}") if number % 3 else fail(f"bad-{number}") for number in range(30)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [number % 3 == 0 for number in range(30)]
    assert await names(db) == sorted(f"good-{number}" for number in range(30) if number % 3)


async def test_statement_that_fails_undoes_only_its_members_part(db: Database) -> None:
    await add(db, "taken")
    results = await asyncio.gather(add(db, "a"), add(db, "taken"), add(db, "b"), return_exceptions=True)
    assert isinstance(results[1], IntegrityError)
    assert await names(db) == ["a", "b", "taken"]


async def test_no_member_is_told_done_before_it_is_on_disk(db: Database) -> None:
    async def add_and_look(name: str) -> bool:
        await add(db, name)
        return name in on_disk(db)

    assert all(await asyncio.gather(*(add_and_look(f"item-{number:02}") for number in range(40))))


async def test_many_members_share_a_commit(db: Database) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    assert db._writer
    await add(db, "first")  # opens the connection
    assert db._writer._connection
    raw = await db._writer._connection.get_raw_connection()
    await raw.driver_connection.set_trace_callback(count)  # type: ignore[union-attr]
    await asyncio.gather(*(add(db, f"item-{number:02}") for number in range(40)))
    assert 1 <= commits <= 10, "four at most on a machine that is not busy"


async def test_cancelled_member_leaves_the_writer_usable(db: Database) -> None:
    started = asyncio.Event()

    async def linger() -> None:
        async with db.transaction() as tx:
            tx.add(Item(name="cancelled"))
            await tx.flush()
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(linger())
    await started.wait()
    waiting = asyncio.create_task(add(db, "next"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)
    await add(db, "after")
    assert await names(db) == ["after", "next"]


async def test_member_cancelled_in_the_middle_of_a_statement_leaves_the_writer_usable(db: Database) -> None:
    await add(db, "first")

    async def linger(tx: AsyncSession) -> None:
        await (await tx.connection()).execute(_SLOW)

    async def cancelled() -> None:
        async with db.transaction() as tx:
            tx.add(Item(name="cancelled"))
            await tx.flush()
            await linger(tx)

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(add(db, "next"))
    await asyncio.sleep(0)
    task.cancel()
    outcome = await asyncio.gather(task, waiting, return_exceptions=True)
    assert isinstance(outcome[0], asyncio.CancelledError)
    assert outcome[1] is None
    await asyncio.wait_for(add(db, "after"), 5)
    assert await names(db) == ["after", "first", "next"]


async def test_member_whose_group_is_lost_with_a_cancelled_statement_is_told_so(db: Database) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with db.transaction() as tx:
            tx.add(Item(name="first"))
            started.set()
            await go_on.wait()

    async def second() -> None:
        async with db.transaction() as tx:
            await (await tx.connection()).execute(_SLOW)

    one = asyncio.create_task(first())
    await started.wait()
    two = asyncio.create_task(second())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.sleep(0.05)
    two.cancel()
    [outcome, _] = await asyncio.gather(one, two, return_exceptions=True)
    assert on_disk(db) == ([] if isinstance(outcome, Exception) else ["first"])
    await asyncio.wait_for(add(db, "after"), 5)


async def test_member_cancelled_while_it_waits_strands_nobody(db: Database) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with db.transaction() as tx:
            tx.add(Item(name="first"))
            started.set()
            await go_on.wait()

    one = asyncio.create_task(first())
    await started.wait()
    two = asyncio.create_task(add(db, "second"))
    await asyncio.sleep(0)
    go_on.set()
    while db._writer and db._writer._turn.locked():  # until the first has left the commit to the second
        await asyncio.sleep(0)
    two.cancel()
    await asyncio.wait_for(one, 5)
    assert on_disk(db) == ["first"]


@pytest.mark.parametrize("tries", [1, 3])
async def test_commit_that_fails_reaches_all_members_and_leaves_the_writer_usable(
    db: Database, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_shared.plumbing.group_commit._OLDEST_GROUP_S", 60)  # one group on a slow machine too

    async with db.transaction() as tx:
        connection = await tx.connection()
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await connection.execute(
            text("CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
        )

    async def orphan() -> None:
        async with db.transaction() as tx:
            await (await tx.connection()).execute(text("INSERT INTO child VALUES (42)"))  # refused at the commit only

    for _ in range(tries):
        results = await asyncio.gather(add(db, "one"), orphan(), add(db, "two"), return_exceptions=True)
        assert [type(result) for result in results] == [IntegrityError] * 3
        assert on_disk(db) == []
    await asyncio.wait_for(add(db, "after"), 5)
    assert on_disk(db) == ["after"]


async def test_close_waits_for_the_commit_under_way(tmp_path: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        tasks = [asyncio.create_task(add(db, f"item-{number}")) for number in range(9)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(on_disk(db)) == 9
