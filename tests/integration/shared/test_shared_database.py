"""A service's store does the same on SQLite and PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from caravan_shared.plumbing.database import Database, after_commit, upsert
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.sqlite import sqlite_engine
from tests.support.service import Item, done


async def items(db: Database) -> dict[str, int]:
    async with db.reading() as session:
        return {item.name: item.value for item in await session.exec(select(Item))}


async def test_transaction_is_kept_when_its_block_ends_well(db: Database) -> None:
    async with db.transaction() as tx:
        tx.add(Item(name="a", value=1))
    assert await items(db) == {"a": 1}


async def test_transaction_is_undone_on_any_error(db: Database) -> None:
    called = []

    async def fail() -> None:
        async with db.transaction() as tx:
            tx.add(Item(name="a", value=1))
            after_commit(tx, lambda: called.append(1))
            await tx.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await items(db) == {}
    assert called == []


async def test_calls_after_commit_come_once_the_change_can_be_read(db: Database) -> None:
    called: list[str] = []
    db.after_say = lambda: called.append("said")
    async with db.transaction() as tx:
        await say(tx, done())
        after_commit(tx, lambda: called.append("committed"))
        assert called == []
    assert called == ["said", "committed"]


async def test_reading_refuses_to_write_and_discards_what_was_changed(db: Database) -> None:
    async with db.reading() as session:
        session.add(Item(name="a"))
        with pytest.raises(RuntimeError, match="cannot write"):
            await session.flush()
        assert (await session.exec(select(Item))).all() == []
    assert await items(db) == {}


async def test_upsert_inserts_new_rows_and_changes_only_the_named_columns(db: Database) -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    async with db.transaction() as tx:
        await upsert(tx, Item, [{"name": "a", "value": 1, "at": then}], key=("name",), update=("value",))
        rows = [{"name": "a", "value": 2, "at": None}, {"name": "b", "value": 3, "at": then}]
        await upsert(tx, Item, rows, key=("name",), update=("value",))
    async with db.reading() as session:
        found = {item.name: (item.value, item.at) for item in await session.exec(select(Item))}
    assert found == {"a": (2, then), "b": (3, then)}


async def test_upsert_without_columns_to_update_leaves_existing_rows_alone(db: Database) -> None:
    async with db.transaction() as tx:
        await upsert(tx, Item, [{"name": "a", "value": 1}], key=("name",), update=())
        await upsert(tx, Item, [{"name": "a", "value": 2}, {"name": "b", "value": 2}], key=("name",), update=())
        await upsert(tx, Item, [], key=("name",), update=())
    assert await items(db) == {"a": 1, "b": 2}


async def test_upsert_takes_more_rows_than_a_statement_has_parameters(db: Database) -> None:
    rows = [{"name": f"node-{number}", "value": number, "at": None} for number in range(11_000)]
    async with db.transaction() as tx:
        await upsert(tx, Item, rows, key=("name",), update=("value",))
    assert len(await items(db)) == 11_000


async def test_long_answer_comes_whole_at_once_and_in_parts_and_may_be_left_in_the_middle(db: Database) -> None:
    names = [f"{number:04}" for number in range(2500)]
    async with db.transaction() as tx:
        await upsert(tx, Item, [{"name": name, "value": 0} for name in names], key=("name",), update=())
    every = select(Item.name).order_by(Item.name)
    async with db.snapshot() as connection:
        assert list((await connection.execute(every)).scalars()) == names
        async with connection.stream(every) as rows:
            assert [row.name async for row in rows] == names
        async with connection.stream(every) as rows:
            assert (await anext(aiter(rows))).name == names[0]
        assert (await connection.execute(every.limit(1))).scalar() == names[0]


async def test_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    for number in range(20):
        engines = [sqlite_engine(f"sqlite+aiosqlite:///{tmp_path}/{number}.db") for _ in range(8)]
        modes = await asyncio.gather(*(_journal_mode(engine) for engine in engines))
        assert modes == ["wal"] * 8


async def _journal_mode(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
    await engine.dispose()
    return str(mode)


async def test_times_come_back_aware_and_in_utc(db: Database) -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    at = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=there)
    async with db.transaction() as tx:
        tx.add(Item(name="a", at=at))
    async with db.reading() as session:
        [found] = await session.exec(select(Item.at))
        assert found == at
        assert found.tzinfo is UTC
        assert list(await session.exec(select(Item.name).where(col(Item.at) == at))) == ["a"]
        assert not list(await session.exec(select(Item.name).where(col(Item.at) > at)))


async def test_naive_times_are_refused(db: Database) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        async with db.transaction() as tx:
            tx.add(Item(name="a", at=datetime(2026, 1, 1)))  # noqa: DTZ001 (what is refused)
