"""A backup's file: one store's rows as text, on any database's terms; whole or not there at all.

Gzip'ed JSON lines, readable for the owner alone:

    {"caravan": "backup", "format": 1, "service": …, "release": …, "revision": …, "at": …, "outbox_id": …}
    {"table": "clusters", "columns": ["id", …]}     then each of its rows, a JSON array
    …
    {"end": true, "rows": …, "keys": [names of the keys that sealed its secrets], "sha256": of all lines before}

What JSON has no type for is an object of one key, its type: `{"time": "2026-01-01T00:00:00+00:00"}`, `{"uuid": …}`,
`{"base64": …}`, `{"json": text of a JSON column}`.
"""

import base64
import gzip
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp

_FORMAT = 1
_MARK = {"caravan": "backup", "format": _FORMAT}


class Refused(GiveUp):
    """A backup is not made or not taken; nothing was touched."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, who_can_fix=WhoCanFix.OPERATOR)


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup is of."""

    service: str
    release: str
    revision: str
    """Of the store's tables."""
    at: str
    """When it was taken, ISO 8601."""
    outbox_id: int
    """The highest number that the outbox had given by then."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON column's value, as its text: `null` is not the same as no value."""

    text: str


class Writer:
    """Writes a backup line by line; `end` makes it whole."""

    def __init__(self, out: gzip.GzipFile, head: Head) -> None:
        self._out, self._sum, self._rows = out, hashlib.sha256(), 0
        self._line({**_MARK, **asdict(head)})

    def table(self, name: str, columns: Sequence[str]) -> None:
        """Say whose rows come next."""
        self._line({"table": name, "columns": list(columns)})

    def row(self, values: Sequence[Any]) -> None:
        """Write a row of the table said last."""
        self._line([_tagged(value) for value in values])
        self._rows += 1

    def end(self, keys: Sequence[str]) -> None:
        """Write what the rest is checked against."""
        self._line({"end": True, "rows": self._rows, "keys": list(keys), "sha256": self._sum.hexdigest()})

    def _line(self, document: Any) -> None:
        line = json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._sum.update(line)
        self._out.write(line)


@contextmanager
def writing(path: Path) -> Iterator[gzip.GzipFile]:
    """A new file at `path`, mode 0600, which appears there once all of it is on disk. Refused where one is already.

    Its folder is made if only that is missing.
    """
    if path.exists():
        raise Refused(f"{path} is there already; a backup is never written over")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb") as packed:
                yield packed
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, it never takes the place of a file that came meanwhile
    except FileExistsError as error:
        raise Refused(f"{path} is there already; a backup is never written over") from error
    finally:
        draft.unlink(missing_ok=True)


def check(path: Path) -> tuple[Head, list[str]]:
    """Read all of a backup: its head, and the names of the keys that its secrets need. Refused where it is damaged."""
    total, rows, head, last = hashlib.sha256(), 0, None, None
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                if last is not None:
                    raise Refused(f"{path} is damaged: something stands behind its end")
                found = json.loads(line)
                if head is None:
                    head = _head(path, found)
                elif isinstance(found, list):
                    rows += 1
                elif "end" in found:
                    last = found
                    continue
                total.update(line)
    except (OSError, EOFError, ValueError) as error:
        raise Refused(f"{path} is no backup, or damaged: {error}") from error
    if head is None or last is None:
        raise Refused(f"{path} is damaged: its end is missing")
    if (last.get("rows"), last.get("sha256")) != (rows, total.hexdigest()):
        raise Refused(f"{path} is damaged: its rows are not those that were written")
    return head, list(last["keys"])


def rows_by_table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of a checked backup, by column, with the name of its table."""
    table, columns = "", list[str]()
    with gzip.open(path, "rb") as file:
        for line in file:
            found = json.loads(line)
            if isinstance(found, list):
                yield table, dict(zip(columns, map(_untagged, found), strict=True))
            elif "table" in found:
                table, columns = found["table"], found["columns"]


def _head(path: Path, found: Any) -> Head:
    if not isinstance(found, dict) or found.get("caravan") != _MARK["caravan"]:
        raise Refused(f"{path} is no backup of Caravan's")
    if found.get("format") != _FORMAT:
        raise Refused(f"{path} has format {found.get('format')}; this release reads format {_FORMAT}")
    try:
        return Head(**{name: value for name, value in found.items() if name not in _MARK})
    except TypeError as error:
        raise Refused(f"{path} is damaged: {error}") from error


def _tagged(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return {"time": value.astimezone(UTC).isoformat()}
        case UUID():
            return {"uuid": str(value)}
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case Json(text):
            return {"json": text}
        case _:
            raise TypeError(f"no backup knows how to write {type(value).__name__}")


_READ: dict[str, Callable[[str], Any]] = {
    "time": datetime.fromisoformat,
    "uuid": UUID,
    "base64": base64.b64decode,
    "json": Json,
}


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    return _READ[kind](text)
