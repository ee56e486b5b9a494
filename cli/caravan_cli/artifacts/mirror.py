"""A mirror: a folder with files and `SHA256SUMS`. What is listed lies there and is what it says; the rest doesn't count."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock

from caravan_cli.artifacts import sums
from caravan_cli.artifacts.catalogue import Artifact, Kind
from caravan_cli.artifacts.problems import missing_file, wrong_sum

_MODES = {Kind.BINARY: 0o755}


class Mirror:
    """One mirror. Files may be added from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sums = sums.read(folder)
        self._lock = Lock()

    def missing(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """What isn't there yet, each path once; quick, since a listed file was checked when it came."""
        by_path = {artifact.path: artifact for artifact in artifacts}
        return [artifact for artifact in by_path.values() if not self._has(artifact)]

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

    def _has(self, artifact: Artifact) -> bool:
        return artifact.path in self._sums and (self.folder / artifact.path).is_file()
