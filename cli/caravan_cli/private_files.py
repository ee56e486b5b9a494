"""Files that hold secrets: their owner alone reads them, and nobody ever sees half of one."""

import os
from pathlib import Path

from caravan_cli.errors import UsageProblem


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step; UsageProblem where it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageProblem(f"{path} cannot be written: {error.strerror}.") from error
