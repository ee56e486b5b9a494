"""Schema migrations, the same way in every service: Alembic, run at start, written by autogenerate.

`python -m caravan_shared.plumbing.migrations caravan_dns "add grants"` compares the tables of `caravan_dns` with the
newest migration and writes the next one.

While an installation is upgraded, replicas of the release before go on, and start again, on a store that is newer than
they are. So a migration only adds what they can live without. One that takes something away begins a new age: its
number is `2.0014` instead of `0014`, as are those after it, and who knows the age before alone does not start on such a
store. It belongs in a release after the one that stopped using what goes.
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
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_ENVIRONMENT = Path(__file__).with_name("alembic_env")
_LOCK = 0x43415241  # PostgreSQL advisory lock: replicas that start together migrate one after the other


class StoreTooNew(RuntimeError):
    """The store was migrated by a later release, in a way that this one cannot live with."""


async def upgrade(engine: AsyncEngine, metadata: MetaData, migrations: Path, revision: str = "head") -> None:
    """Bring the store behind `engine` to the newest migration, or up to `revision`; see `upgrade_within`."""
    async with engine.begin() as connection:
        await upgrade_within(connection, metadata, migrations, revision)


async def upgrade_within(
    connection: AsyncConnection, metadata: MetaData, migrations: Path, revision: str = "head"
) -> None:
    """The same within a transaction. A newer store of the same age is left as it is; raises StoreTooNew for others."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    held = await connection.run_sync(current_revision)
    if held and revision == "head" and held == newest_revision(migrations):
        return
    if held and not is_known(held, migrations):
        newest = newest_revision(migrations)
        if age(held) != age(newest):
            raise StoreTooNew(
                f"the store is at migration {held}, and this release, which knows {newest}, cannot work with it: "
                "run the release that migrated it, or restore a backup of before"
            )
        log.warning("the store was migrated by a later release; what that added is not used", store=held, knows=newest)
        return
    await connection.run_sync(lambda sync: command.upgrade(_config(sync, metadata, migrations), revision))


def is_known(revision: str, migrations: Path) -> bool:
    """Whether this release has that migration."""
    return any(
        script.revision == revision for script in ScriptDirectory.from_config(_scripts(migrations)).walk_revisions()
    )


def age(revision: str) -> str:
    """The age of a migration, by its number: releases of one age work with each other's stores."""
    before, dot, _ = revision.partition(".")
    return before if dot else "1"


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
    number = _next(len(list((migrations / "versions").glob("[0-9]*.py"))) + 1, newest_revision(migrations))
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


def _next(count: int, newest: str) -> str:
    """The number after `newest`, of the same age."""
    return f"{count:04d}" if age(newest) == "1" else f"{age(newest)}.{count:04d}"


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
