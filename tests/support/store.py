"""Stores for tests and benches: tables made at once, or as a service's own migrations make them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from caravan_shared.plumbing.database import Database

_MADE: dict[Path, bytes] = {}
"""By the migrations: the SQLite file that they make."""


async def create_tables(url: str, metadata: MetaData) -> None:
    """Create all tables at once, for a service that has no migrations."""
    if url.startswith("sqlite"):
        Path(url.split(":///", 1)[1]).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


@asynccontextmanager
async def opened(db: Database) -> AsyncIterator[Database]:
    """A store that is started for as long as the block runs."""
    await db.start()
    try:
        yield db
    finally:
        await db.stop()


@asynccontextmanager
async def migrated(db: Database) -> AsyncIterator[Database]:
    """`opened`, where it starts with its tables."""
    await lay_down(db)
    async with opened(db):
        yield db


async def lay_down(db: Database) -> None:
    """Where an SQLite store is to be and is not yet, put a copy of what its migrations make: they run once a session.

    They take tenths of a second of CPU. On PostgreSQL they run at each store's start, as everywhere.
    """
    if not db.is_sqlite:
        return
    if db._migrations not in _MADE:
        _MADE[db._migrations] = await _make(db)
    file = Path(db.url.split(":///", 1)[1])
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_MADE[db._migrations])


async def _make(db: Database) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        first = Database(f"sqlite+aiosqlite:///{file}", db.metadata, db._migrations)
        await first.start()
        await first.stop()
        return file.read_bytes()
