"""A service's own store: SQLite by default, PostgreSQL by URL; the same code on both.

Every change happens in `transaction()`. Commits are synced to disk on both, because an acknowledged event is gone from
the bus; on SQLite those that come together share one sync (`group_commit`). A store that cannot be worked with right
now raises `StoreAway`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prometheus_client import Histogram
from sqlalchemy import MetaData, QueuePool, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker
from sqlmodel import Session, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.away import told_as_away
from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.group_commit import GroupCommit
from caravan_shared.plumbing.migrations import current_revision, is_known, newest_revision, upgrade, upgrade_within
from caravan_shared.plumbing.postgresql import ANSWERS_WITHIN_S, WITHOUT_TRANSACTION, postgresql_engine
from caravan_shared.plumbing.sqlite import WRITES, sqlite_engine
from caravan_shared.plumbing.tables import COUNTED_ID, plumbing_tables
from caravan_shared.plumbing.utc import UtcDateTime

_NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_AFTER_COMMIT = "after_commit"

_TRANSACTION_SECONDS = Histogram(
    "caravan_store_transaction_seconds",
    "Seconds of a write transaction, from the wish for it to its commit on disk.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


def service_metadata() -> MetaData:
    """A fresh MetaData for one service's tables, with the plumbing's own tables already in it."""
    metadata = MetaData(naming_convention=_NAMING)
    plumbing_tables(metadata)
    return metadata


@dataclass(frozen=True)
class Load:
    """How much of what the store can take is taken."""

    connections: int
    most_connections: int
    writers_waiting: int


class Database:
    """One service's store. `after_say` runs after each commit that put events into the outbox."""

    def __init__(self, url: str, metadata: MetaData, migrations: Path) -> None:
        self.url, self.metadata, self._migrations = url, metadata, migrations
        self.is_sqlite = url.startswith("sqlite")
        self.after_say: Callable[[], None] = lambda: None
        self._engine: AsyncEngine | None = None
        self._writer: GroupCommit | None = None

    async def start(self) -> None:
        """Open the store and bring its tables to the newest version."""
        self.open()
        await self.migrate()

    def open(self) -> None:
        """Open the store as it is."""
        if self.is_sqlite:
            self._engine = read = sqlite_engine(self.url)
            self._writer = GroupCommit(self._engine)
        else:
            self._engine = postgresql_engine(self.url, ANSWERS_WITHIN_S)
            read = self._engine.execution_options(**WITHOUT_TRANSACTION)
        self._sessions = async_sessionmaker(self._engine, class_=AsyncSession, expire_on_commit=False)
        self._readers = async_sessionmaker(read, class_=AsyncSession, sync_session_class=_Reader, autoflush=False)

    async def migrate(self) -> None:
        """Bring the tables of the open store to the newest version, however long that takes."""
        if self.is_sqlite:
            # The write lock from the start: of services that start together, each waits for the one before.
            await upgrade(self._opened().execution_options(**{WRITES: True}), self.metadata, self._migrations)
            return
        patient = postgresql_engine(self.url, answers_within_s=None)
        try:
            await upgrade(patient, self.metadata, self._migrations)
        finally:
            await patient.dispose()

    async def migrate_within(self, tx: AsyncSession, revision: str = "head") -> None:
        """The same within a transaction, also up to an earlier version."""
        await upgrade_within(await tx.connection(), self.metadata, self._migrations, revision)

    def knows(self, revision: str) -> bool:
        """Whether this release can bring tables of that version to the newest."""
        return is_known(revision, self._migrations)

    async def revision(self) -> str:
        """The version of the open store's tables; empty before it has any."""
        async with self._opened().connect() as connection:
            return await connection.run_sync(current_revision)

    def newest_revision(self) -> str:
        """The version of the tables that this release works with."""
        return newest_revision(self._migrations)

    async def stop(self) -> None:
        """Close all connections."""
        if self._writer:
            await self._writer.close()
        if self._engine:
            await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One write transaction: committed at the end, rolled back on any error."""
        with _TRANSACTION_SECONDS.time(), told_as_away():
            async with self._writing() as session:
                yield session
        if session.info.get("said"):
            self.after_say()
        for call in session.info.get(_AFTER_COMMIT, ()):
            call()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session to read with; it raises `RuntimeError` where it is asked to write."""
        with told_as_away():
            async with self._readers() as session:
                yield session

    def load(self) -> Load:
        """What is in use at this moment."""
        pool = self._engine.pool if self._engine else None
        if not isinstance(pool, QueuePool):
            return Load(0, 0, 0)
        return Load(
            pool.checkedout(), pool.size() + max(pool._max_overflow, 0), self._writer.waiting if self._writer else 0
        )

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees the store as it is at one moment, whatever is written meanwhile; for reading only."""
        async with self._opened().connect() as connection:
            if not self.is_sqlite:  # SQLite's readers see one moment by themselves
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def _opened(self) -> AsyncEngine:
        assert self._engine, "the store is not open"
        return self._engine

    def _writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._writer.transaction() if self._writer else self._sessions.begin()


class _Reader(Session):
    """Writes nothing: it has no transaction that would be undone at its end."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Refuse."""
        raise RuntimeError("a session to read with cannot write")


def after_commit(tx: AsyncSession, call: Callable[[], None]) -> None:
    """Have `call` run once what `tx` changes is on disk; never if it is rolled back."""
    tx.info.setdefault(_AFTER_COMMIT, []).append(call)


def before_flush(listen: Callable[..., None]) -> None:
    """Have `listen(session, …)` see what every session of this process is about to write, and add to it; once."""
    if not event.contains(Session, "before_flush", listen):
        event.listen(Session, "before_flush", listen)


async def upsert(
    tx: AsyncSession,
    table: type[SQLModel],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    update: Sequence[str],
) -> None:
    """Insert `rows` in one statement; where `key` exists, set the `update` columns.

    An empty `update` leaves existing rows alone. Rows must name the same columns and hold each key once.
    """
    if not rows:
        return
    # The table, and the rows as parameters: a statement that holds the rows is compiled anew, at ten times their cost.
    insert = insert_into(tx, cast("Any", table).__table__)
    changes = {column: insert.excluded[column] for column in update}
    statement = (
        insert.on_conflict_do_update(index_elements=list(key), set_=changes)
        if changes
        else insert.on_conflict_do_nothing(index_elements=list(key))
    )
    await tx.exec(statement, params=[dict(row) for row in rows])


__all__ = ["COUNTED_ID", "Database", "UtcDateTime", "after_commit", "before_flush", "service_metadata", "upsert"]
