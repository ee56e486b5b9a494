"""A mirror: a folder with files and `SHA256SUMS`. What is listed lies there and is what it says; only that counts."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from caravan_cli.artifacts import lock, sums
from caravan_cli.artifacts.catalogue import Artifact, Kind, Sha256
from caravan_cli.artifacts.problems import missing_file, wrong_sum

_MODES = {Kind.BINARY: 0o755}


class Mirror:
    """One mirror. Files may be added from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sums = sums.read(folder)
        self._lock = Lock()

    def lacks(self, artifact: Artifact, sha256: Sha256 | None = None) -> bool:
        """Whether it isn't there yet, or isn't what `sha256` says; quick: what is listed was checked as it came."""
        listed = self._sums.get(artifact.path)
        return listed is None or listed != (sha256 or listed) or not (self.folder / artifact.path).is_file()

    def add(self, artifact: Artifact, write: Callable[[Path], None]) -> int:
        """Have `write` make the file beside its place, then list and name it; answers its size in bytes."""
        target = self.folder / artifact.path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        try:
            write(beside)
            beside.chmod(_MODES.get(artifact.kind, 0o644))
            found = sums.of_file(beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        with self._lock:
            self._sums[artifact.path] = found
            sums.write(self.folder, self._sums)
        return target.stat().st_size

    def verify(self) -> Iterator[tuple[str, int]]:
        """Path and size of each listed file, once it is read and right. Raises CliError for the first that isn't."""
        for path, expected in self._sums.items():
            file = self.folder / path
            if not file.is_file():
                raise missing_file(file)
            found = sums.of_file(file)
            if found != expected:
                raise wrong_sum(path, str(file), expected=expected, found=found)
            yield path, file.stat().st_size


@contextmanager
def filling(folder: Path) -> Iterator[Mirror]:
    """A mirror to fill, made where there is none; another filling of it waits. What a killed one left is removed."""
    with lock.locked(folder):
        for leftover in [path for path in folder.rglob(".*") if path.name != lock.NAME]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        yield Mirror(folder)
