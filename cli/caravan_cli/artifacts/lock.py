"""One process at a time in a folder: several may fill mirrors, and the second should find what the first made."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in the folder, made where there is none; a process that dies leaves it free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
