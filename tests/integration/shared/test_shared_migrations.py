"""Migrations: written from the tables, run at start, on both databases, also by services that start at once."""

import asyncio
import importlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.migrations import StoreTooNew, upgrade, write_next
from tests.support.store import opened

_STORE = """
import sqlalchemy as sa
from caravan_shared.plumbing.database import UtcDateTime, service_metadata

class Table:
    metadata = service_metadata()

BOAT = sa.Table(
    "boat",
    Table.metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("launched_at", UtcDateTime, nullable=False, index=True),
)
"""
_OTHER_FILE = """
import sqlalchemy as sa
from caravan_boats.store import Table

PIER = sa.Table("pier", Table.metadata, sa.Column("name", sa.String, primary_key=True))
"""
_COLUMN_MORE = 'BOAT.append_column(sa.Column("crew", sa.Integer, nullable=False, server_default="0"))'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package with a store and no migrations yet."""
    folder = tmp_path / "caravan_boats"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "store.py").write_text(_STORE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith("caravan_boats")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _store() -> ModuleType:
    _forget()
    return importlib.import_module("caravan_boats.store")


def _database(url: str, package: Path) -> Database:
    return Database(url, _store().Table.metadata, package / "migrations")


async def _columns(url: str) -> dict[str, set[str]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: {
                table: {column["name"] for column in inspect(sync).get_columns(table)}
                for table in inspect(sync).get_table_names()
            }
        )
    await engine.dispose()
    return found


async def test_first_migration_makes_the_services_tables_and_the_plumbings(package: Path, database_url: str) -> None:
    await write_next("caravan_boats", "initial")
    async with opened(_database(database_url, package)):
        tables = await _columns(database_url)
    assert set(tables) == {"alembic_version", "boat", "inbox", "leases", "outbox", "traces"}
    assert tables["boat"] == {"name", "launched_at"}
    assert [path.name for path in (package / "migrations" / "versions").glob("*.py")] == ["0001_initial.py"]


async def test_next_migration_changes_a_store_that_is_in_use(package: Path, database_url: str) -> None:
    await write_next("caravan_boats", "initial")
    async with opened(_database(database_url, package)):
        pass
    with (package / "store.py").open("a") as store:
        store.write(_COLUMN_MORE)
    _forget()
    await write_next("caravan_boats", "count the crew")
    async with opened(_database(database_url, package)):
        assert (await _columns(database_url))["boat"] == {"name", "launched_at", "crew"}
    assert (package / "migrations" / "versions" / "0002_count_the_crew.py").exists()


async def _upgraded_by_a_later_release(package: Path, url: str, revision: str) -> Database:
    """A store that has had a migration of which this release knows nothing."""
    await write_next("caravan_boats", "initial")
    initial = (package / "store.py").read_text()
    with (package / "store.py").open("a") as store:
        store.write(_COLUMN_MORE)
    _forget()
    await write_next("caravan_boats", "count the crew")
    second = package / "migrations" / "versions" / "0002_count_the_crew.py"
    second.write_text(second.read_text().replace("'0002'", f"'{revision}'").replace('"0002"', f'"{revision}"'))
    async with opened(_database(url, package)) as later:
        assert await later.revision() == revision
    second.unlink()
    (package / "store.py").write_text(initial)
    return _database(url, package)


async def test_older_release_works_on_a_store_that_only_got_something_more(package: Path, database_url: str) -> None:
    older = await _upgraded_by_a_later_release(package, database_url, "0002")
    async with opened(older):
        async with older.transaction() as tx:
            row = {"name": "Argo", "launched_at": datetime(2026, 1, 1, tzinfo=UTC)}
            await (await tx.connection()).execute(older.metadata.tables["boat"].insert(), [row])
        assert (await older.revision(), older.newest_revision()) == ("0002", "0001")
    assert "crew" in (await _columns(database_url))["boat"]


async def test_older_release_refuses_a_store_of_a_later_age(package: Path, database_url: str) -> None:
    older = await _upgraded_by_a_later_release(package, database_url, "2.0002")
    with pytest.raises(StoreTooNew, match=r"at migration 2\.0002, and this release, which knows 0001"):
        await older.start()
    await older.stop()


async def test_next_migration_is_of_the_age_of_the_one_before(package: Path) -> None:
    await write_next("caravan_boats", "initial")
    [first] = (package / "migrations" / "versions").glob("0001_*.py")
    first.write_text(first.read_text().replace("'0001'", "'2.0001'").replace('"0001"', '"2.0001"'))
    _forget()
    await write_next("caravan_boats", "nothing")
    assert [path.name for path in (package / "migrations" / "versions").glob("2.*.py")] == ["2.0002_nothing.py"]


async def test_tables_are_found_in_every_file_of_the_package(package: Path) -> None:
    (package / "piers.py").write_text(_OTHER_FILE)
    await write_next("caravan_boats", "initial")
    [first] = (package / "migrations" / "versions").glob("0001_*.py")
    assert "'boat'" in first.read_text().replace('"', "'")
    assert "'pier'" in first.read_text().replace('"', "'")


@pytest.mark.parametrize("service", ["api", "provisioner", "bootstrapper", "health", "dns"])
async def test_migrations_make_the_very_tables_that_a_service_has(service: str, tmp_path: Path) -> None:
    app, store = (importlib.import_module(f"caravan_{service}.{module}") for module in ("app", "store"))
    metadata = store.Table.metadata
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/{service}.db")
    await upgrade(engine, metadata, app.MIGRATIONS)
    async with engine.begin() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await engine.dispose()
    assert differences == []


async def test_tables_that_did_not_change_need_no_migration(package: Path) -> None:
    await write_next("caravan_boats", "initial")
    _forget()
    await write_next("caravan_boats", "nothing")
    [second] = (package / "migrations" / "versions").glob("0002_*.py")
    assert second.read_text().count("    pass\n") == 2


async def test_services_that_start_at_once_migrate_one_after_the_other(package: Path, database_url: str) -> None:
    await write_next("caravan_boats", "initial")
    store = _store()
    replicas = [Database(database_url, store.Table.metadata, package / "migrations") for _ in range(3)]
    await asyncio.gather(*(replica.start() for replica in replicas))
    await asyncio.gather(*(replica.stop() for replica in replicas))
    assert "boat" in await _columns(database_url)


def test_a_services_command_migrates_its_store_and_ends_without_a_bus(tmp_path: Path) -> None:
    env = {**os.environ, "CARAVAN_STATE_DIR": str(tmp_path), "CARAVAN_NATS_URL": "nats://127.0.0.1:1"}

    done = subprocess.run([sys.executable, "-m", "caravan_dns", "migrate"], env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "dns.db")) as store:
        assert [name for (name,) in store.execute("SELECT version_num FROM alembic_version")] == [_newest("dns")]


def _newest(service: str) -> str:
    package = importlib.import_module(f"caravan_{service}")
    versions = Path(str(package.__file__)).with_name("migrations") / "versions"
    return max(file.name[:4] for file in versions.glob("[0-9]*.py"))
