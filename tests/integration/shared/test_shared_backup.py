"""Backup and restore: every table of every service, between databases; and all that a restore refuses."""

import gzip
import importlib
import json
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import JSON, Boolean, Column, DateTime, Enum, Float, Integer, LargeBinary, String, Table, Uuid, insert
from sqlalchemy import null as no_value
from sqlmodel.sql.sqltypes import AutoString

from caravan_shared.contracts.events import ClusterDeleted
from caravan_shared.plumbing.backup import JUMP, restore, write_backup
from caravan_shared.plumbing.backup_file import Refused
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.sealed_columns import sealed_columns
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.tables import OUTBOX
from caravan_shared.plumbing.utc import UtcDateTime
from tests.support.settings import SETTINGS

SERVICES = ["api", "provisioner", "bootstrapper", "health", "dns"]
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

Rows = Mapping[str, list[dict[str, Any]]]


def make(name: str, url: str, folder: Path) -> Service:
    app = importlib.import_module(f"caravan_{name}.app")
    settings: Any = SETTINGS[name]
    service: Service = app.build(settings(state_dir=folder, database_url=url))
    return service


def sqlite(folder: Path, name: str) -> str:
    return f"sqlite+aiosqlite:///{folder}/{name}.db"


def value_for(service: Service, column: Column[Any], number: int) -> Any:
    """A telling value of the column's type; of what may be missing, the first row lacks it."""
    if column.nullable and number == 0:
        return no_value() if isinstance(column.type, JSON) else None
    match column.type:
        case Boolean():
            return number % 2 == 0
        case Enum() as kind:
            return list(kind.enum_class or [])[number]
        case Uuid():
            return UUID(int=number + 1)
        case Integer():
            return number + 1
        case Float():
            return 0.1 + number
        case UtcDateTime() | DateTime():
            return NOW.replace(year=2026 + number)
        case LargeBinary():
            return b"\x00\xff" + bytes([number])
        case JSON():
            return None if number == 1 else {"täg": [number, None, 1.5], "json": "x"}
        case String() | AutoString() as kind:
            text = f"'{number}\u2028 ü \\ \"\n"
            return text[: kind.length] if kind.length else text
    raise AssertionError(f"{column} has a type that this test has no value for: {column.type}")


async def fill(service: Service) -> None:
    """Put three rows into every table."""
    sealed = {(table.name, column.name): context for table, column, context in sealed_columns(service.db.metadata)}
    async with service.db.transaction() as tx:
        connection = await tx.connection()
        for table in service.db.metadata.sorted_tables:
            for number in range(3):
                row = {column.name: value_for(service, column, number) for column in table.columns}
                for name in row:
                    if (table.name, name) in sealed:
                        row[name] = service.keys.seal("secret", "somewhere")
                await connection.execute(insert(table), [row])


async def rows_of(service: Service) -> Rows:
    async with service.db.reading() as session:
        connection = await session.connection()
        return {table.name: await _rows(connection, table) for table in service.db.metadata.sorted_tables}


async def _rows(connection: Any, table: Table) -> list[dict[str, Any]]:
    nothing = [column.is_(None).label(f"no {column.name}") for column in table.columns]
    found = await connection.execute(table.select().add_columns(*nothing).order_by(*table.primary_key.columns))
    return [dict(row._mapping) for row in found]


@pytest.mark.parametrize("name", SERVICES)
async def test_every_row_of_every_table_comes_back_on_the_other_database(
    name: str, tmp_path: Path, postgres_url: str
) -> None:
    there, back = make(name, sqlite(tmp_path, "there"), tmp_path), make(name, sqlite(tmp_path, "back"), tmp_path)
    between = make(name, postgres_url, tmp_path)
    await there.db.start()
    await fill(there)
    rows = await rows_of(there)
    await there.db.stop()
    assert all(rows.values())

    await write_backup(there, tmp_path / "1")
    await restore(between, tmp_path / "1")
    await write_backup(between, tmp_path / "2")
    await restore(back, tmp_path / "2")

    for service in (between, back):
        service.db.open()
        restored = await rows_of(service)
        await service.db.stop()
        for row in rows["outbox"]:
            row |= {"stream_epoch": None, "no stream_epoch": True}  # said again, whatever the bus had
        for table, expected in rows.items():
            assert restored[table] == expected, table


@pytest.fixture
async def dns(tmp_path: Path, database_url: str) -> Service:
    """A service whose store has told something."""
    service = make("dns", database_url, tmp_path)
    await service.db.start()
    async with service.db.transaction() as tx:
        await say(tx, *(ClusterDeleted(cluster_id=uuid4(), team="t", name="x") for _ in range(3)))
    async with service.db.transaction() as tx:
        await tx.exec(OUTBOX.delete())
    await service.db.stop()
    return service


async def test_restored_outbox_goes_on_far_above_what_was_ever_used(dns: Service, tmp_path: Path) -> None:
    head = await write_backup(dns, tmp_path / "backup")
    assert head.outbox_id == 3
    restored = make("dns", sqlite(tmp_path, "new"), tmp_path)
    await restore(restored, tmp_path / "backup")
    await restored.db.start()
    async with restored.db.transaction() as tx:
        await say(tx, ClusterDeleted(cluster_id=uuid4(), team="t", name="x"))
    ids = [row["id"] for row in (await rows_of(restored))["outbox"]]
    await restored.db.stop()
    assert ids == [3 + JUMP + 1]


async def test_restored_outbox_goes_on_above_on_postgresql_too(tmp_path: Path, postgres_url: str) -> None:
    source = make("dns", sqlite(tmp_path, "dns"), tmp_path)
    await source.db.start()
    await source.db.stop()
    await write_backup(source, tmp_path / "backup")
    restored = make("dns", postgres_url, tmp_path)
    await restore(restored, tmp_path / "backup")
    await restored.db.start()
    async with restored.db.transaction() as tx:
        await say(tx, ClusterDeleted(cluster_id=uuid4(), team="t", name="x"))
    ids = [row["id"] for row in (await rows_of(restored))["outbox"]]
    await restored.db.stop()
    assert ids == [JUMP + 1]


async def test_backup_is_its_owners_alone_and_never_written_over(dns: Service, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    await write_backup(dns, file)
    before = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Refused, match="never written over"):
        await write_backup(dns, file)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob(".backup.*"))


def _cut(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content).rsplit(b"\n", 2)[0] + b"\n")


def _row_lost(content: bytes) -> bytes:
    lines = gzip.decompress(content).splitlines(keepends=True)
    return gzip.compress(b"".join(lines[:1] + lines[2:]))


def _altered(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content).replace(b"outbox", b"outbux", 1))


def rewritten(content: bytes, columns_of: Callable[[str, list[str]], list[str]], **head: str) -> bytes:
    """A backup as another release would have written it, sums and all: other columns, other words in its head."""
    first, *rest, end = map(json.loads, gzip.decompress(content).splitlines())
    lines, kept = list[Any]([{**first, **head}]), list[int]()
    for line in rest:
        if "table" in line:
            columns = columns_of(line["table"], line["columns"])
            kept = [line["columns"].index(column) for column in columns]
            lines += [{**line, "columns": columns}] if columns else []
        elif kept:
            lines.append([line[index] for index in kept])
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    end |= {"rows": sum(isinstance(line, list) for line in lines), "sha256": sha256(body).hexdigest()}
    return gzip.compress(body + json.dumps(end).encode() + b"\n")


def _of_later_tables(content: bytes) -> bytes:
    return rewritten(content, lambda _, columns: columns, revision="9999", release="9.1.0")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: content[: len(content) // 2], "damaged"),
        (_cut, "its end is missing"),
        (_row_lost, "not those that were written"),
        (_altered, "not those that were written|damaged"),
        (lambda _: b"no gzip", "no backup"),
        (lambda _: gzip.compress(b'{"a": 1}\n'), "no backup of Caravan's"),
        (_of_later_tables, "release 9.1.0"),
    ],
)
async def test_restore_refuses_a_file_that_is_not_whole_or_of_a_later_release(
    damage: Any, why: str, tmp_path: Path
) -> None:
    source = make("dns", sqlite(tmp_path, "dns"), tmp_path)
    await source.db.start()
    await fill(source)
    await source.db.stop()
    await write_backup(source, tmp_path / "good")
    (tmp_path / "bad").write_bytes(damage((tmp_path / "good").read_bytes()))
    target = make("dns", sqlite(tmp_path, "target"), tmp_path)
    with pytest.raises(Refused, match=why):
        await restore(target, tmp_path / "bad")
    assert not (tmp_path / "target.db").exists()


async def test_restore_refuses_another_services_file_a_store_in_use_and_a_ring_without_the_key(
    tmp_path: Path,
) -> None:
    source = make("dns", sqlite(tmp_path, "dns"), tmp_path)
    await source.db.start()
    await fill(source)
    await source.db.stop()
    await write_backup(source, tmp_path / "backup")

    with pytest.raises(Refused, match="a backup of dns, not of health"):
        await restore(make("health", sqlite(tmp_path, "health"), tmp_path), tmp_path / "backup")
    with pytest.raises(Refused, match="not empty"):
        await restore(source, tmp_path / "backup")
    with pytest.raises(Refused, match=r"key ring .* lacks k"):
        await restore(make("dns", sqlite(tmp_path, "new"), tmp_path / "other"), tmp_path / "backup")
    await restore(make("dns", sqlite(tmp_path, "new"), tmp_path), tmp_path / "backup", only_check=True)
    await restore(make("dns", sqlite(tmp_path, "new"), tmp_path), tmp_path / "backup")


async def test_backup_is_one_moment_of_a_store_that_is_written_to(tmp_path: Path, database_url: str) -> None:
    service = make("dns", database_url, tmp_path)
    await service.db.start()
    async with service.db.snapshot() as connection:
        before = len((await connection.execute(OUTBOX.select())).all())
        async with service.db.transaction() as tx:
            await say(tx, ClusterDeleted(cluster_id=uuid4(), team="t", name="x"))
        after = len((await connection.execute(OUTBOX.select())).all())
    await service.db.stop()
    assert (before, after) == (0, 0)
