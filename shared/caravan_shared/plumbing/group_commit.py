"""Many small SQLite transactions, one sync to disk.

SQLite takes one writer at a time and every commit waits for the disk. So the transactions that queue up while one is at
work join it: each runs in a savepoint of its own (an error undoes only its own part), and the last one commits for all.
Nobody is told "done" before that commit. PostgreSQL does this by itself.

A transaction that is cancelled in the middle of a statement takes the connection with it, and where the disk is full
SQLite undoes more than the statement that found out: then the whole group fails, its members raise, and the next group
starts on a new connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.sqlite import WRITES

_LARGEST_GROUP = 64
_OLDEST_GROUP_S = 0.05  # a member never waits much longer than this for the others' parts


@dataclass
class _Group:
    transaction: AsyncTransaction
    opened_at: float
    members: int = 0
    committed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def is_full(self, now: float) -> bool:
        return self.members >= _LARGEST_GROUP or now - self.opened_at > _OLDEST_GROUP_S


class GroupCommit:
    """Write transactions on one connection, committed in groups."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._group: _Group | None = None
        self._committing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Transactions that wait for their turn."""
        return self._waiting

    async def close(self) -> None:
        """Wait for the commit under way and close the connection."""
        async with self._turn:
            await self._commit_under_way()
            if self._connection:
                await self._connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose changes are on disk when the block has ended without an error."""
        await self._take_turn()
        try:
            group = await self._join()
            assert self._connection is not None
            try:
                async with AsyncSession(
                    bind=self._connection, join_transaction_mode="create_savepoint", expire_on_commit=False
                ) as session:
                    yield session
                    await session.commit()
            except BaseException:
                await self._end_if_undone()
                raise
            finally:
                full = group.is_full(asyncio.get_running_loop().time())
                if full or not self._waiting or self._connection.invalidated:
                    self._committing = asyncio.create_task(self._commit(group))
                    await asyncio.shield(self._committing)
        finally:
            self._turn.release()
        await asyncio.shield(group.committed)

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            if self._group and self._waiting == 1 and not self._turn.locked():
                # The group was left for this one to commit; without it, its members would wait for ever.
                self._committing = asyncio.create_task(self._commit(self._group))
            raise
        finally:
            self._waiting -= 1

    async def _join(self) -> _Group:
        await self._commit_under_way()
        if self._connection is None:
            self._connection = await self._engine.execution_options(**{WRITES: True}).connect()
        if self._group is None:
            try:
                transaction = await self._connection.begin()
            except BaseException:
                await asyncio.shield(self._drop_connection())
                raise
            self._group = _Group(transaction, asyncio.get_running_loop().time())
        self._group.members += 1
        return self._group

    async def _end_if_undone(self) -> None:
        """Give up a connection on which SQLite itself has undone the whole group."""
        assert self._connection is not None
        if self._connection.invalidated:
            return
        driver = (await self._connection.get_raw_connection()).driver_connection
        if driver is not None and not driver.in_transaction:
            await asyncio.shield(self._connection.invalidate())

    async def _commit_under_way(self) -> None:
        if self._committing:
            await asyncio.wait([self._committing])
            self._committing = None

    async def _commit(self, group: _Group) -> None:
        assert self._connection is not None
        self._group = None
        try:
            if self._connection.invalidated:
                raise StoreAway("a transaction that shared the commit took the connection with it")
            await group.transaction.commit()
        except BaseException as error:
            await self._drop_connection()
            group.committed.set_exception(error)
            group.committed.exception()  # seen: a member that was cancelled will not ask for it
            return
        group.committed.set_result(None)

    async def _drop_connection(self) -> None:
        """Close the connection for good; SQLite undoes what it had not committed."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.invalidate()
            await connection.close()
