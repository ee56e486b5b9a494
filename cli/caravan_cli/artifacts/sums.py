"""`SHA256SUMS` of a mirror: what lies there and what it must hash to, `<sha256>  <path>` a line, for sha256sum(1)."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from caravan_cli.artifacts.problems import broken_sums

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def read(mirror: Path) -> dict[str, str]:
    """Path to SHA-256, as a mirror's list says; empty where there is none yet. Raises CliError for a broken list."""
    listed = mirror / NAME
    return parse(listed.read_text(), str(listed)) if listed.exists() else {}


def parse(text: str, origin: str) -> dict[str, str]:
    """Path to SHA-256 from a list's text; `origin` names it in the error."""
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise broken_sums(origin, number)
        sums[match[2]] = match[1]
    return sums


def write(mirror: Path, sums: Mapping[str, str]) -> None:
    """Replace the list in one step, so that a reader never sees half of it."""
    with NamedTemporaryFile("w", dir=mirror, prefix=f".{NAME}.", delete=False) as file:
        file.writelines(f"{sums[path]}  {path}\n" for path in sorted(sums))
    os.chmod(file.name, 0o644)
    os.replace(file.name, mirror / NAME)


def of_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
