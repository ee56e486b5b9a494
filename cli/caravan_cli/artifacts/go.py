"""Build programs from Go modules, as `go build` in a module of our own that requires theirs.

A module that isn't the main one has its `replace` lines ignored by Go, so they are written down anew: those that point
into the same repository (Kubernetes' staging folders) become the modules published from there, of the same release.
Everything comes through the Go module proxy, checked against the checksum database or the catalogue's `sum`, and what a
module needs also against its own go.sum: the database doesn't answer for every fork that a `replace` names.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from caravan_cli.artifacts.catalogue import Program
from caravan_cli.artifacts.problems import build_failed, no_tool

_REPLACE = re.compile(r"^(?:replace)?\s*(\S+)(?: v\S+)? => (\S+)(?: (v\S+))?$", re.MULTILINE)
_GO = re.compile(r"^go (\S+)$", re.MULTILINE)
_UNRELEASED = "v0.0.0"  # what a module requires of a folder beside it that has no version of its own
_MAJOR_SUFFIX = re.compile(r"v\d+")


@dataclass(frozen=True)
class Module:
    """A module in Go's cache: its path, version and folder."""

    path: str
    version: str
    folder: Path


def build(programs: Sequence[Program], into: Path) -> dict[str, Path]:
    """Build programs of one module at one version, alike in flags; answers their key and file, below `into`."""
    with TemporaryDirectory(prefix="caravan-go-") as scratch:
        module = fetch(programs[0], Path(scratch))
        if programs[0].c_file:
            return {each.key: _compile_c(each, module, into) for each in programs}
        text = go_mod(module, programs[0].require, (module.folder / "go.mod").read_text())
        (Path(scratch) / "go.mod").write_text(text)
        add_sums(module, Path(scratch))
        return _compile_go(programs, Path(scratch), into)


def fetch(program: Program, scratch: Path) -> Module:
    """Get a program's module into Go's cache, checked."""
    (scratch / "go.mod").write_text("module caravan.invalid/build\n\ngo 1.21\n")
    if program.sum:
        archive, go_mod = program.sum
        name = f"{program.module} {program.version}"
        (scratch / "go.sum").write_text(f"{name} {archive}\n{name}/go.mod {go_mod}\n")
    answer = _go(["mod", "download", "-json", f"{program.module}@{program.version}"], scratch, what=program.module)
    return Module(program.module, program.version, Path(json.loads(answer)["Dir"]))


def go_mod(module: Module, require: Mapping[str, str], theirs: str) -> str:
    """The go.mod that builds a module's programs, with what else it shall require; `theirs` is its own text. Pure."""
    go = match[1] if (match := _GO.search(theirs)) else "1.21"
    lines = ["module caravan.invalid/build", "", f"go {go}", "", ""]
    lines += [f"require {name} {version}" for name, version in {module.path: module.version, **require}.items()]
    for name, target, version in _REPLACE.findall(theirs):
        if version:
            lines.append(f"replace {name} => {target} {version}")
        elif f"{name} {_UNRELEASED}" in theirs:
            lines.append(f"replace {name} => {name} {_staging_version(module.version)}")
    return "\n".join(lines) + "\n"


def add_sums(module: Module, scratch: Path) -> None:
    """Put a module's own go.sum, where it has one, below the one in `scratch`."""
    theirs = module.folder / "go.sum"
    if theirs.exists():
        with (scratch / "go.sum").open("a") as ours:
            ours.write(theirs.read_text())


def _staging_version(version: str) -> str:
    """The version under which Kubernetes v1.X.Y publishes its staging folders: v0.X.Y."""
    return re.sub(r"^v1\.", "v0.", version)


def _compile_go(programs: Sequence[Program], scratch: Path, into: Path) -> dict[str, Path]:
    first = programs[0]
    tags = [*first.tags, *(["netgo", "osusergo"] if first.cgo else [])]
    out = scratch / "out"
    out.mkdir()
    packages = [os.path.normpath(f"{each.module}/{each.package}") for each in programs]
    _go(
        ["build", "-trimpath", "-tags", ",".join(tags), "-ldflags", linker_flags(first), "-o", f"{out}/", *packages],
        scratch,
        what=f"{first.module}@{first.version}",
        settings={"CGO_ENABLED": "1" if first.cgo else "0"},
    )
    built = {}
    for program, package in zip(programs, packages, strict=True):
        built[program.key] = into / program.key
        shutil.move(out / binary_name(package), built[program.key])
    return built


def linker_flags(program: Program) -> str:
    """What `go build -ldflags` takes for a program; what is stamped may hold spaces. Pure."""
    stamps = (f'-X "{variable}={value}"' for variable, value in sorted(program.stamp.items()))
    static = ["-linkmode external -extldflags -static"] if program.cgo else []  # still one file that runs anywhere
    return " ".join(["-s -w", *stamps, *static])


def binary_name(package: str) -> str:
    """The name that `go build` gives a program: the last part of its package that is no major version."""
    return next(part for part in reversed(package.split("/")) if not _MAJOR_SUFFIX.fullmatch(part))


def _compile_c(program: Program, module: Module, into: Path) -> Path:
    target = into / program.key
    defines = [f"-D{name}={value}" for name, value in sorted(program.stamp.items())]
    source = module.folder / str(program.c_file)
    _run(["gcc", "-Os", "-static", "-s", *defines, "-o", str(target), str(source)], into, what=source.name)
    return target


def _go(arguments: Sequence[str], folder: Path, *, what: str, settings: Mapping[str, str] | None = None) -> str:
    return _run(["go", *arguments], folder, what=what, settings={"GOFLAGS": "-mod=mod", **(settings or {})})


def _run(command: Sequence[str], folder: Path, *, what: str, settings: Mapping[str, str] | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise no_tool(command[0], f"build {what} from source")
    done = subprocess.run(  # noqa: S603 - the command is ours, the names in it are the catalogue's
        ["nice", *command],  # noqa: S607
        cwd=folder,
        env={**os.environ, **(settings or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise build_failed(what, done.stderr or done.stdout)
    return done.stdout
