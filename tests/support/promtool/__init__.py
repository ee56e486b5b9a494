"""Prometheus' own tool, for tests of our alerts: the machine's, or one built here from its Go module.

Built without service discoveries, which leaves out the clients of twenty clouds; it takes minutes of two cores, once.
The program is kept by what it is made from, below the cache that other tests share.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

_MODULE = Path(__file__).parent
_PACKAGE = "github.com/prometheus/prometheus/cmd/promtool"
_BUILT_WITHIN_S = 1500


def kept() -> Path | None:
    """The machine's promtool, or the one that was built before; None where there is neither."""
    if own := shutil.which("promtool"):
        return Path(own)
    built = _place()
    return built if built.exists() else None


def build() -> Path:
    """The tool, built if there is none. Raises CalledProcessError with the compiler's own words on stderr."""
    if found := kept():
        return found
    go = shutil.which("go")
    assert go, "promtool is built with Go (golang in Debian), which is not installed here"
    place = _place()
    place.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    with TemporaryDirectory(dir=place.parent) as scratch:
        part = Path(scratch) / place.name
        for name in ("go.mod", "go.sum", "tool.go"):
            shutil.copy(_MODULE / name, scratch)
        command = [go, "build", "-tags", "remove_all_sd", "-trimpath", "-ldflags=-s -w", "-o", str(part), _PACKAGE]
        subprocess.run(command, cwd=scratch, env=environment, check=True, timeout=_BUILT_WITHIN_S)
        part.replace(place)
    return place


def _place() -> Path:
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "tool.go", "__init__.py"):
        digest.update((_MODULE / name).read_bytes())
    cache = Path(os.environ.get("CARAVAN_CACHE", Path.home() / ".cache/caravan"))
    return cache / "promtool" / digest.hexdigest()[:12] / "promtool"
