"""Which columns hold sealed texts, which keys those need, and how they come under the current one.

A column says so where it is declared, with the context that its texts are sealed for:

    sealed_key: str = Field(sa_column_kwargs=sealed(lambda row: f"{row.cluster_id}/{row.purpose}"))

After a rotation `Resealing` opens and seals them anew, some rows at a time, while the service works with them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import Column, MetaData, Row, Select, Table, and_, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.sealing import CannotOpen, KeyRing, RingAway, key_of

Context = Callable[[Any], str]

_INFO = "sealed for"
_ROWS_AT_ONCE = 100
_UNDER_OLD_KEYS = Gauge("caravan_sealed_under_old_keys", "Sealed texts in the store that are under no current key.")

log = get_logger(__name__)


def sealed(context: Context) -> dict[str, Any]:
    """Arguments of a column whose texts are sealed for `context(row)`."""
    return {"info": {_INFO: context}}


def sealed_columns(metadata: MetaData) -> Iterator[tuple[Table, Column[str], Context]]:
    """Every column that holds sealed texts."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            if context := column.info.get(_INFO):
                yield table, column, context


async def keys_in_use(connection: AsyncConnection, metadata: MetaData) -> set[str]:
    """The names of the keys without which some text of the store does not open."""
    used: set[str] = set()
    for _, column, _ in sealed_columns(metadata):
        async with connection.stream(select(column).where(column.is_not(None))) as texts:
            used |= {key_of(text) async for (text,) in texts}
    return used


class Resealing:
    """Brings the store's sealed texts under the ring's current key."""

    def __init__(self, db: Database, keys: KeyRing, every_s: float) -> None:
        self._db, self._keys, self._every_s = db, keys, every_s

    async def run(self) -> None:
        """Read the ring again and seal anew what is under another key, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                self._keys.reload()
            except RingAway as error:
                log.error("going on with the keys that were read before", reason=error.reason)
            await self.reseal()

    async def reseal(self) -> int:
        """Seal anew all that is under another key than the current one; how many texts that was."""
        done = failed = 0
        for table, column, context in sealed_columns(self._db.metadata):
            async for row in self._under_old_keys(table, column):
                if await self._reseal(table, column, context(row), row):
                    done += 1
                else:
                    failed += 1
        _UNDER_OLD_KEYS.set(failed)
        if done:
            log.info("sealed texts came under the current key", texts=done)
        return done

    async def _under_old_keys(self, table: Table, column: Column[str]) -> AsyncIterator[Row[Any]]:
        keys, prefix = list(table.primary_key.columns), self._keys.prefix
        is_old = and_(column.is_not(None), func.substr(column, 1, len(prefix)) != prefix)
        wanted = select(table).where(is_old).order_by(*keys).limit(_ROWS_AT_ONCE)
        rows = await self._read(wanted)
        while rows:
            for row in rows:
                yield row
            last = tuple(rows[-1]._mapping[key] for key in keys)
            rows = await self._read(wanted.where(tuple_(*keys) > last))

    async def _read(self, wanted: Select[Any]) -> Sequence[Row[Any]]:
        async with self._db.reading() as session:
            found = await (await session.connection()).execute(wanted)
            return list(found.all())

    async def _reseal(self, table: Table, column: Column[str], context: str, row: Row[Any]) -> bool:
        """False where the text does not open: it stays as it is, for its key may come back."""
        old = row._mapping[column]
        try:
            new = self._keys.seal(self._keys.open(old, context), context)
        except CannotOpen as error:
            log.error("a sealed text stays under its old key", table=table.name, reason=error.reason)
            return False
        same_row = [key == row._mapping[key] for key in table.primary_key.columns]
        async with self._db.transaction() as tx:  # only if nobody has written another text meanwhile
            await tx.exec(update(table).where(*same_row, column == old).values({column.name: new}))
        return True
