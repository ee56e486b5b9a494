"""Schema migrations, the same way in every service: Alembic, run at start, written by autogenerate.

`python -m caravan_shared.plumbing.migrations caravan_dns "add grants"` compares the tables of `caravan_dns` with the
newest migration and writes the next one.
"""

import asyncio
import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_ENVIRONMENT = Path(__file__).with_name("alembic_env")
_LOCK = 0x43415241  # PostgreSQL advisory lock: replicas that start together migrate one after the other


async def upgrade(engine: AsyncEngine, metadata: MetaData, migrations: Path, revision: str = "head") -> None:
    """Bring the store behind `engine` to the newest migration, or up to `revision`."""
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(lambda sync: command.upgrade(_config(sync, metadata, migrations), revision))


def current_revision(connection: Connection) -> str:
    """The migration that the store behind `connection` is at; empty before the first."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def newest_revision(migrations: Path) -> str:
    """The newest migration there is; empty where there is none."""
    return ScriptDirectory.from_config(_scripts(migrations)).get_current_head() or ""


async def write_next(package: str, title: str) -> None:
    """Write the next migration of `package` from what its tables say now."""
    _import_all(package)  # tables may be anywhere, and one that nobody imported would be dropped
    store = importlib.import_module(f"{package}.store")
    metadata: MetaData = store.Table.metadata
    migrations = Path(str(store.__file__)).with_name("migrations")
    (migrations / "versions").mkdir(parents=True, exist_ok=True)
    number = f"{len(list((migrations / 'versions').glob('[0-9]*.py'))) + 1:04d}"
    with tempfile.TemporaryDirectory() as folder:
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/empty.db")
        await upgrade(engine, metadata, migrations)
        async with engine.begin() as connection:
            await connection.run_sync(
                lambda sync: command.revision(
                    _config(sync, metadata, migrations), title, autogenerate=True, rev_id=number
                )
            )
        await engine.dispose()


def _import_all(package: str) -> None:
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def _config(connection: Connection, metadata: MetaData, migrations: Path) -> Config:
    config = _scripts(migrations)
    config.attributes.update(connection=connection, metadata=metadata)
    return config


def _scripts(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(migrations / "versions"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


if __name__ == "__main__":
    asyncio.run(write_next(sys.argv[1], sys.argv[2]))
