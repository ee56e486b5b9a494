"""Files that hold secrets: their owner alone reads them, and nobody ever sees half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caravan_cli.errors import Conflict, UsageProblem


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step; UsageProblem where it cannot be written."""
    draft = _draft(path)
    try:
        _touch(draft)
        draft.write_text(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageProblem(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def new_private(path: Path) -> Iterator[Path]:
    """A draft that becomes the file at `path` when the block ends well; Conflict where one is there already."""
    draft = _draft(path)
    if path.exists():
        raise Conflict(f"{path} is there already.")
    try:
        _touch(draft)
        yield draft
        os.link(draft, path)  # unlike a rename, it never takes the place of a file that came meanwhile
    except FileExistsError as error:
        raise Conflict(f"{path} is there already.") from error
    except OSError as error:
        raise UsageProblem(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _touch(draft: Path) -> None:
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
