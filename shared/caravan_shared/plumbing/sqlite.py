"""SQLite as the stores use it: who begins a transaction, how durable a commit is, what a cancelled statement leaves.

The driver runs statements in a thread. Cancelled while one runs, it would leave the statement running and its lock held
with nobody to release it. So here a statement is always waited for, and what it did is undone, before the cancellation
goes on.

The way to that thread and back costs more than most statements do, and the driver goes it four times for each: for a
cursor, the statement, its rows, and the end of the cursor. Here all of that is one visit.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, cast

import aiosqlite
from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

WRITES = "caravan_writes"
"""Execution option of connections whose transactions take the write lock at once."""

_READ_AHEAD = 1000  # rows fetched with their statement; those of a longer answer follow when they are asked for
_BUSY_FOR_S = 30
_PRAGMAS = (f"busy_timeout={_BUSY_FOR_S * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_LOOK_AGAIN_S = 0.01  # whether who makes the file at the same moment is done


def sqlite_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///…`; makes the file's directory."""
    Path(url.split(":///", 1)[1]).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, json_deserializer=from_json, connect_args={"async_creator_fn": _connect})
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


class _Cursor(aiosqlite.Cursor):
    """The driver's cursor, made where its statement runs, with the first rows fetched there."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        super().__init__(connection, cast("Any", None))
        self._rows: list[Any] = []
        self._has_more = False

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        """Run the statement."""
        self._rows = await self._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        self._has_more = len(self._rows) == _READ_AHEAD
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Run the statement for each of the parameters."""
        await self._execute(self._run_many, sql, parameters)  # type: ignore[no-untyped-call]
        return self

    async def fetchone(self) -> Any:
        """The next row; None after the last."""
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, fewer than `size` perhaps; none after the last."""
        if self._has_more and not self._rows:
            return list(await super().fetchmany(size))
        count = size or self.arraysize
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    async def fetchall(self) -> list[Any]:
        """All rows that are left."""
        rows, self._rows = self._rows, []
        return [*rows, *await super().fetchall()] if self._has_more else rows

    async def close(self) -> None:
        """End what is not at its end already."""
        if self._has_more:
            await super().close()

    def _run(self, sql: str, parameters: Any) -> list[Any]:
        return self._made().execute(sql, parameters).fetchmany(_READ_AHEAD)

    def _run_many(self, sql: str, parameters: Any) -> None:
        self._made().executemany(sql, parameters)

    def _made(self) -> sqlite3.Cursor:
        self._cursor = self._conn._conn.cursor()
        return self._cursor


class _Connection(aiosqlite.Connection):
    """The driver's connection, whose statements end before a cancellation goes on."""

    def cursor(self) -> Any:
        """A cursor, not yet made."""
        return _Cursor(self)

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        work = asyncio.ensure_future(super()._execute(fn, *args, **kwargs))  # type: ignore[no-untyped-call]
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            await super()._execute(self._conn.rollback)  # type: ignore[no-untyped-call]
            raise


async def _connect(database: str, **arguments: Any) -> aiosqlite.Connection:
    # Transactions are begun in `_on_begin`: the driver would begin them too late.
    connection: aiosqlite.Connection = aiosqlite.connect(database, isolation_level=None, **arguments)
    connection.__class__ = _Connection  # the driver's `connect` names its class itself
    connection._thread.daemon = True
    await connection
    try:
        for pragma in _PRAGMAS:
            await _set(cast("_Connection", connection), pragma)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _set(connection: _Connection, pragma: str) -> None:
    """Set it. Of two that change a new file's journal at once one is told "locked" at once, whatever its timeout."""
    deadline = time.monotonic() + _BUSY_FOR_S
    while True:
        try:
            await connection.cursor().execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            return


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
