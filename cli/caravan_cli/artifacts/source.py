"""Make a mirror's files from source: programs are built once and kept, then put where the catalogue says."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from caravan_cli.artifacts import debian, go, oci
from caravan_cli.artifacts.catalogue import Artifact, Copy, Kind, Program, Source
from caravan_cli.artifacts.lock import locked

_GZIP_LEVEL = 1  # a mirror's archives are read at once on the same network

Batch = tuple[str, str, str]


class Workshop:
    """Builds what a list of artifacts needs; `kept` holds programs and packages between runs, by content."""

    def __init__(self, kept: Path, artifacts: Iterable[Artifact], building: Callable[[str], None]) -> None:
        self._building = building
        self._programs = kept / "programs"
        self._packages = kept / "packages"
        self._batches = batches(program for each in artifacts if each.source for program in each.source.programs)

    def maker(self, artifact: Artifact) -> Callable[[Path], None]:
        """What writes one artifact to a file. Programs of the same module are built together, the first time."""
        if artifact.source is None:
            raise ValueError(f"{artifact.name} has no source")
        source = artifact.source

        def write(target: Path) -> None:
            if artifact.kind is Kind.BINARY:
                shutil.copyfile(self._built(source.programs[0]), target)
                return
            with self._staged(source, target.parent) as root:
                if artifact.kind is Kind.IMAGE:
                    oci.write_image(str(artifact.image), root, source.entrypoint, target)
                else:
                    _write_tgz(root, target)

        return write

    def _built(self, program: Program) -> Path:
        built = self._programs / program.key
        if not built.exists():
            self._building(f"{program.module} {program.version}")
            with locked(self._programs):
                self._build(self._batches[_batch_of(program)])
        return built

    def _build(self, batch: Iterable[Program]) -> None:
        missing = [each for each in batch if not (self._programs / each.key).exists()]
        if missing:
            with TemporaryDirectory(dir=self._programs, prefix=".") as scratch:
                for key, file in go.build(missing, Path(scratch)).items():
                    os.replace(file, self._programs / key)

    @contextmanager
    def _staged(self, source: Source, near: Path) -> Iterator[Path]:
        with TemporaryDirectory(dir=near, prefix=".root-") as scratch:
            root = Path(scratch)
            if source.packages:
                debian.unpack(source.packages, root, self._packages)
            for copy in source.copies:
                copy_out(_carried(copy), _place(root, copy.into))
            for program in source.programs:
                place = _place(root, program.into)
                shutil.copyfile(self._built(program), place)
                place.chmod(0o755)
            for path, points_to in source.links.items():
                _place(root, path).symlink_to(points_to)
            yield root


def copy_out(carried: Path, place: Path) -> None:
    """Copy a file or folder of a Go module. Modules keep no modes, and Go's cache is read-only: scripts can be run."""
    if carried.is_dir():
        shutil.copytree(carried, place, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(carried, place)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or _is_script(path) else 0o644)


def _is_script(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"#!"


def _carried(copy: Copy) -> Path:
    with TemporaryDirectory(prefix="caravan-go-") as scratch:
        return go.fetch(Program(module=copy.module, version=copy.version), Path(scratch)).folder / copy.path


def _place(root: Path, path: str) -> Path:
    """Where an image's or archive's path lies below `root`, in a folder that is there."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def batches(programs: Iterable[Program]) -> dict[Batch, list[Program]]:
    """Programs that one `go build` can make together, each once. Pure."""
    once = {program.key: program for program in programs}
    ordered = sorted(once.values(), key=_batch_of)
    return {batch: list(members) for batch, members in groupby(ordered, key=_batch_of)}


def _batch_of(program: Program) -> Batch:
    """What must be alike in programs of one build: all but the package, and where it goes."""
    return (program.module, program.version, program.model_dump_json(exclude={"package", "into"}))


def _write_tgz(root: Path, target: Path) -> None:
    with target.open("wb") as file, gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
        oci.write_tar(root, packed)
