"""A service's store into a file and back, whatever database it is on: `caravan-<service> backup`, `… restore`.

A backup is what one read transaction sees, so the service may run meanwhile. Sealed values stay sealed: the key ring is
a file of its own and is kept apart. A restore goes into an empty database, and refuses whatever does not fit before it
touches anything.

A restored store must not use a number again that receivers heard since: they ignore what is older than what they know.
So its outbox goes on `JUMP` further than the backup knows of. And it says everything of the last day again, under the
old ids: which of it the other stores have, of moments of their own, nobody knows.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Insert,
    Table,
    Text,
    cast,
    delete,
    func,
    insert,
    inspect,
    literal,
    null,
    select,
    text,
)
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.backup_file import Head, Json, Refused, Writer, check, rows_by_table, writing
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealed_columns import keys_in_use
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.tables import OUTBOX

JUMP = 1_000_000_000
"""Numbers that a restored outbox leaves out: a thousand facts a second for eleven days between backup and loss, and
still nine thousand million restores before a bigint ends."""

_ROWS_AT_ONCE = 500


async def write_backup(service: Service, path: Path) -> Head:
    """Write the store's rows to `path`. Refused where a file is there, or the store is another release's."""
    db = service.db
    with writing(path) as file:
        db.open()
        try:
            async with db.snapshot() as connection:
                head = await _head(service, connection)
                writer = Writer(file, head)
                for table in db.metadata.sorted_tables:
                    await _write_table(connection, table, writer)
                writer.end(sorted(await keys_in_use(connection, db.metadata)))
        finally:
            await db.stop()
    return head


async def restore(service: Service, path: Path, *, only_check: bool = False) -> Head:
    """Fill the service's empty database from a backup, in one transaction; `only_check` ends before the first change.

    One of an earlier release is brought up to this one. Refused: another service's or a later release's backup, a
    damaged one, a database with tables in it, a key ring that lacks a key. Needs Caravan stopped.
    """
    head, keys = check(path)
    db = service.db
    _refuse_what_does_not_fit(service, head, keys)
    db.open()
    try:
        async with db.snapshot() as connection:
            if await connection.run_sync(lambda sync: inspect(sync).get_table_names()):
                raise Refused(f"the database of {service.name} is not empty; a restore needs one without any tables")
        if not only_check:
            async with db.transaction() as tx:
                await db.migrate_within(tx, head.revision)
                await _fill(tx, db, path, head)
                await db.migrate_within(tx)
                for step in service.restored_steps:
                    await step(tx)
    finally:
        await db.stop()
    return head


async def _head(service: Service, connection: AsyncConnection) -> Head:
    revision, newest = await service.db.revision(), service.db.newest_revision()
    if revision != newest:
        raise Refused(
            f"the store is of revision {revision or 'none'}, this release works with {newest}: "
            f"take the backup with the release that runs, or run `caravan-{service.name} migrate` first"
        )
    return Head(
        service=service.name,
        release=_release(service),
        revision=newest,
        at=service.clock.now().isoformat(),
        outbox_id=await connection.run_sync(_highest_outbox_id),
    )


def _refuse_what_does_not_fit(service: Service, head: Head, keys: Iterable[str]) -> None:
    if head.service != service.name:
        raise Refused(f"this is a backup of {head.service}, not of {service.name}")
    if not service.db.knows(head.revision):
        raise Refused(
            f"the backup's tables are of revision {head.revision}, later than this release's "
            f"{service.db.newest_revision()}: restore it with release {head.release}"
        )
    if missing := sorted(set(keys) - service.keys.names):
        raise Refused(
            f"the key ring {service.settings.key_ring} lacks {', '.join(missing)}, under which secrets of this backup "
            "are sealed: put the ring there that was kept apart"
        )


def _release(service: Service) -> str:
    return version(f"caravan-{service.name}")


async def _write_table(connection: AsyncConnection, table: Table, writer: Writer) -> None:
    writer.table(table.name, [column.name for column in table.columns])
    as_json = [isinstance(column.type, JSON) for column in table.columns]
    # A JSON column as its text: read as values, JSON's null and the database's would be the same.
    columns = [cast(column, Text) if js else column for column, js in zip(table.columns, as_json, strict=True)]
    async with connection.stream(select(*columns).order_by(*table.primary_key.columns)) as rows:
        async for row in rows:
            writer.row([Json(v) if js and v is not None else v for v, js in zip(row, as_json, strict=True)])


async def _fill(tx: AsyncSession, db: Database, path: Path, head: Head) -> None:
    connection = await tx.connection()
    there = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    tables = [table for table in db.metadata.sorted_tables if table.name in there]
    for table in reversed(tables):  # a migration may have put rows into a fresh store
        if (await connection.execute(select(literal(1)).select_from(table).limit(1))).first():
            await connection.execute(delete(table))
    for name, rows in _grouped(path):
        table = db.metadata.tables[name]
        await connection.execute(_insert(table, rows[0]), [_bound(table, row) for row in rows])
    await connection.run_sync(_set_counters, tables, head.outbox_id + JUMP)
    await connection.execute(OUTBOX.update().values(stream_epoch=None))


def _grouped(path: Path) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    name, rows = "", list[dict[str, Any]]()
    for table, row in rows_by_table(path):
        if rows and (table != name or len(rows) == _ROWS_AT_ONCE):
            yield name, rows
            rows = []
        name = table
        rows.append(row)
    if rows:
        yield name, rows


def _insert(table: Table, row: Iterable[str]) -> Insert:
    """Into the columns that the backup has: the table may have got more since."""
    return insert(sql_table(table.name, *(sql_column(name, table.c[name].type) for name in row)))


def _bound(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The row as the table's types take it."""
    bound = {name: json.loads(value.text) if isinstance(value, Json) else value for name, value in row.items()}
    no_value = {name: null() for name, value in row.items() if value is None and isinstance(table.c[name].type, JSON)}
    return bound | no_value


def _highest_outbox_id(connection: Connection) -> int:
    """The highest id ever given, also if its row is long gone."""
    if connection.dialect.name == "sqlite":
        given = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")).scalar()
    else:
        sequence = connection.execute(text("SELECT pg_get_serial_sequence('outbox', 'id')")).scalar_one()
        given = connection.execute(text(f"SELECT last_value FROM {sequence}")).scalar()  # noqa: S608  # its own name
    return int(given or 0)


def _set_counters(connection: Connection, tables: Sequence[Table], outbox_id: int) -> None:
    """Have the database number on: the outbox's rows after `outbox_id`, others after the highest that is there."""
    if connection.dialect.name == "sqlite":  # which goes by the highest row itself, but for the outbox
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = 'outbox'"))
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', :seq)"), {"seq": outbox_id})
        return
    for table in tables:
        column = table.autoincrement_column
        if column is None:
            continue
        highest = connection.execute(select(func.max(column))).scalar() or 0
        used = outbox_id if table.name == OUTBOX.name else highest
        if used:
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, :column), :used)"),
                {"table": table.name, "column": column.name, "used": used},
            )
