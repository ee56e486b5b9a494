"""Programs written in Go that tests use: the machine's, or built here, each from its module in `go/<name>`.

A program is kept by what it is made from, below the cache that other tests share.
"""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_MODULES = Path(__file__).parent / "go"
_MADE_FROM = ("go.mod", "go.sum", "tool.go")
_BUILT_WITHIN_S = 1500


@dataclass(frozen=True)
class GoTool:
    """One program. `tags` are Go's build constraints."""

    name: str
    package: str
    tags: str = ""

    def kept(self) -> Path | None:
        """The machine's, or the one that was built before; None where there is neither."""
        if own := shutil.which(self.name):
            return Path(own)
        built = self._place()
        return built if built.exists() else None

    def build(self) -> Path:
        """The program, built if there is none. Raises CalledProcessError with the compiler's own words on stderr."""
        if found := self.kept():
            return found
        go = shutil.which("go")
        assert go, f"{self.name} is built with Go (golang in Debian), which is not installed here"
        place = self._place()
        place.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
        with TemporaryDirectory(dir=place.parent) as scratch:
            part = Path(scratch) / place.name
            for name in _MADE_FROM:
                shutil.copy(_MODULES / self.name / name, scratch)
            command = [go, "build", "-tags", self.tags, "-trimpath", "-ldflags=-s -w", "-o", str(part), self.package]
            subprocess.run(command, cwd=scratch, env=environment, check=True, timeout=_BUILT_WITHIN_S)
            part.replace(place)
        return place

    def _place(self) -> Path:
        digest = hashlib.sha256(f"{self.package} {self.tags}".encode())
        for name in _MADE_FROM:
            digest.update((_MODULES / self.name / name).read_bytes())
        cache = Path(os.environ.get("CARAVAN_CACHE", Path.home() / ".cache/caravan"))
        return cache / self.name / digest.hexdigest()[:12] / self.name


PROMTOOL = GoTool("promtool", "github.com/prometheus/prometheus/cmd/promtool", tags="remove_all_sd")
"""Prometheus' own tool, without service discoveries: without the clients of twenty clouds. Minutes of two cores."""
TOXIPROXY = GoTool("toxiproxy-server", "github.com/Shopify/toxiproxy/v2/cmd/server")
"""A network between two programs that is cut and slow when a test wants it. Seconds."""
