"""SQLite as the stores use it: who begins a transaction, how durable a commit is, what a cancelled statement leaves.

The driver runs statements in a thread. Cancelled while one runs, it would leave the statement running and its lock held
with nobody to release it. So here a statement is always waited for, and what it did is undone, before the cancellation
goes on.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite
from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

WRITES = "caravan_writes"
"""Execution option of connections whose transactions take the write lock at once."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000")  # milliseconds


def sqlite_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///…`; makes the file's directory."""
    Path(url.split(":///", 1)[1]).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, json_deserializer=from_json, connect_args={"async_creator_fn": _connect})
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


class _Connection(aiosqlite.Connection):
    """The driver's connection, whose statements end before a cancellation goes on."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        work = asyncio.ensure_future(super()._execute(fn, *args, **kwargs))  # type: ignore[no-untyped-call]
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            await super()._execute(self._conn.rollback)  # type: ignore[no-untyped-call]
            raise


def _connect(database: str, **arguments: Any) -> aiosqlite.Connection:
    connection: aiosqlite.Connection = aiosqlite.connect(database, **arguments)
    connection.__class__ = _Connection  # the driver's `connect` names its class itself
    connection._thread.daemon = True
    return connection


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun in `_on_begin`; the driver would begin them too late
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
