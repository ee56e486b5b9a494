"""This release beside the one before: it reads what that one stored, and that one can work with what it makes of it."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel, select

from caravan_shared.plumbing.backup import restore
from caravan_shared.plumbing.backup_file import check, rows_by_table
from caravan_shared.plumbing.migrations import age, upgrade
from caravan_shared.plumbing.sealed_columns import sealed_columns
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.tables import OUTBOX
from tests.integration.shared.test_shared_backup import SERVICES, make, rewritten, sqlite
from tests.releases import KEY_RING, backup_of
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.settings import SETTINGS

# --- the store of the release before ---------------------------------------------------------------------------------


def tables_of(service: Service) -> list[type[SQLModel]]:
    """The classes that the service reads its tables by."""
    store = importlib.import_module(f"caravan_{service.name}.store")
    return [
        mapper.class_ for mapper in store.Table._sa_registry.mappers if mapper.class_.metadata is service.db.metadata
    ]


@pytest.mark.parametrize("name", SERVICES)
async def test_store_of_the_release_before_is_read_by_this_one(name: str, tmp_path: Path, database_url: str) -> None:
    (tmp_path / "keys.json").write_bytes(KEY_RING.read_bytes())
    service = make(name, database_url, tmp_path)
    await restore(service, backup_of(name))
    stored = [table for table, _ in rows_by_table(backup_of(name))]
    service.db.open()
    async with service.db.reading() as session:
        assert await service.db.revision() == service.db.newest_revision()
        for table in tables_of(service):
            rows = (await session.exec(select(table))).all()
            assert len(rows) >= stored.count(str(table.__tablename__))  # a restore may add rows
        for sealed, column, context in sealed_columns(service.db.metadata):
            found = await (await session.connection()).execute(sealed.select().where(column.is_not(None)))
            for row in found:
                assert service.keys.open(getattr(row, column.name), context(row))
    await service.db.stop()
    assert stored


@pytest.mark.parametrize("name", SERVICES)
async def test_service_runs_on_the_store_of_the_release_before(
    name: str, tmp_path: Path, nats_server: NatsServer
) -> None:
    (tmp_path / "keys.json").write_bytes(KEY_RING.read_bytes())
    await restore(make(name, sqlite(tmp_path, name), tmp_path), backup_of(name))
    settings: Any = SETTINGS[name]
    own = {"embedded_port": free_port()} if name == "dns" else {}
    build = importlib.import_module(f"caravan_{name}.app").build
    async with build(
        settings(state_dir=tmp_path, nats_url=nats_server.url, http_port=free_port(), **own)
    ).running() as service:
        assert await service.db.revision() == service.db.newest_revision()


async def test_store_of_an_earlier_release_is_brought_up_to_this_one(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "keys.json").write_bytes(KEY_RING.read_bytes())
    (tmp_path / "backup").write_bytes(rewritten(backup_of("health").read_bytes(), _before_traces, revision="0003"))
    service = make("health", database_url, tmp_path)
    await restore(service, tmp_path / "backup")
    service.db.open()
    async with service.db.reading() as session:
        assert await service.db.revision() == service.db.newest_revision()
        said = (await (await session.connection()).execute(OUTBOX.select())).all()
    await service.db.stop()
    assert said
    assert {row.traceparent for row in said} == {None}


def _before_traces(table: str, columns: list[str]) -> list[str]:
    """The columns that health's tables had at revision 0003."""
    traces = {"traceparent", "tracestate"} if table == "outbox" else set(columns) if table == "traces" else set[str]()
    return [column for column in columns if column not in traces]


# --- what a migration may do to the release before -------------------------------------------------------------------


@dataclass(frozen=True)
class ColumnIs:
    """What code that knows nothing of later migrations meets."""

    type: str
    nullable: bool
    has_default: bool


@dataclass(frozen=True)
class TableIs:
    """A table's columns by name, and the sets of columns that are unique."""

    columns: dict[str, ColumnIs]
    unique: frozenset[tuple[str, ...]]


Schema = dict[str, TableIs]


def breaks(before: Schema, after: Schema) -> list[str]:
    """What of `after` a release that was written for `before` cannot live with. Pure."""
    found = [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        found += [f"{name}.{column} is gone" for column in old.columns.keys() - new.columns.keys()]
        found += [
            f"{name}.{column} has to be given"
            for column in new.columns.keys() - old.columns.keys()
            if not new.columns[column].nullable and not new.columns[column].has_default
        ]
        for column in old.columns.keys() & new.columns.keys():
            found += [f"{name}.{column} {what}" for what in _differs(old.columns[column], new.columns[column])]
        found += [f"{name} is unique by other columns: {columns}" for columns in old.unique ^ new.unique]
    return sorted(found)


def _differs(old: ColumnIs, new: ColumnIs) -> list[str]:
    wider = {("INTEGER", "BIGINT"), ("VARCHAR", "TEXT")}
    is_longer = old.type.startswith("VARCHAR(") and (
        new.type == "VARCHAR" or (new.type.startswith("VARCHAR(") and _length(new.type) >= _length(old.type))
    )
    found = []
    if old.type != new.type and (old.type, new.type) not in wider and not is_longer:
        found.append(f"was {old.type} and is {new.type}")
    if old.nullable != new.nullable:
        found.append("may be missing" if new.nullable else "may be missing no more")
    if old.has_default and not new.has_default and not new.nullable:
        found.append("has to be given")
    return found


def _length(text: str) -> int:
    return int(text.removeprefix("VARCHAR(").removesuffix(")"))


def _schema(connection: Connection) -> Schema:
    there = inspect(connection)
    return {
        name: TableIs(
            {
                column["name"]: ColumnIs(str(column["type"]), column["nullable"], column["default"] is not None)
                for column in there.get_columns(name)
            },
            frozenset(
                [tuple(sorted(each["column_names"])) for each in there.get_unique_constraints(name)]
                + [tuple(sorted(map(str, each["column_names"]))) for each in there.get_indexes(name) if each["unique"]]
                + [tuple(sorted(there.get_pk_constraint(name)["constrained_columns"]))]
            ),
        )
        for name in there.get_table_names()
    }


async def _schema_at(service: Service, folder: Path, revision: str) -> Schema:
    migrations = importlib.import_module(f"caravan_{service.name}.app").MIGRATIONS
    engine = create_async_engine(sqlite(folder, f"{service.name}-{revision}"))
    await upgrade(engine, service.db.metadata, migrations, revision)
    async with engine.connect() as connection:
        schema = await connection.run_sync(_schema)
    await engine.dispose()
    return schema


@pytest.mark.parametrize("name", SERVICES)
async def test_release_before_can_live_with_every_migration_since(name: str, tmp_path: Path) -> None:
    """Or it is kept from starting, because the migrations have begun a new age; see `plumbing.migrations`."""
    head, _ = check(backup_of(name))
    service = make(name, sqlite(tmp_path, name), tmp_path)
    before, after = [await _schema_at(service, tmp_path, revision) for revision in (head.revision, "head")]
    assert age(service.db.newest_revision()) != age(head.revision) or breaks(before, after) == []


BOAT = TableIs(
    {"name": ColumnIs("VARCHAR(8)", False, False), "crew": ColumnIs("INTEGER", True, False)}, frozenset({("name",)})
)


def _with(**columns: ColumnIs) -> Schema:
    return {"boat": replace(BOAT, columns=BOAT.columns | columns)}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ({}, ["boat is gone"]),
        ({"boat": replace(BOAT, columns={"name": BOAT.columns["name"]})}, ["boat.crew is gone"]),
        (_with(sails=ColumnIs("INTEGER", False, False)), ["boat.sails has to be given"]),
        (_with(crew=ColumnIs("INTEGER", False, True)), ["boat.crew may be missing no more"]),
        (_with(name=ColumnIs("VARCHAR(8)", True, False)), ["boat.name may be missing"]),
        (_with(name=ColumnIs("VARCHAR(4)", False, False)), ["boat.name was VARCHAR(8) and is VARCHAR(4)"]),
        (_with(crew=ColumnIs("VARCHAR", True, False)), ["boat.crew was INTEGER and is VARCHAR"]),
        (
            {"boat": replace(BOAT, unique=frozenset({("name",), ("crew",)}))},
            ["boat is unique by other columns: ('crew',)"],
        ),
        (_with(sails=ColumnIs("INTEGER", False, True), flag=ColumnIs("VARCHAR", True, False)), []),
        (_with(name=ColumnIs("VARCHAR", False, False), crew=ColumnIs("BIGINT", True, False)), []),
        ({"boat": BOAT, "pier": BOAT}, []),
    ],
)
def test_only_additions_that_may_be_left_out_break_nothing(after: Schema, found: list[str]) -> None:
    assert breaks({"boat": BOAT}, after) == found
