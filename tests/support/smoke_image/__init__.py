"""The smoke test's image, made here, because nothing can be pulled behind a firewall: one static program and no more.

Kept by what it is made from, below the cache that real tests share.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAME = "caravan.test/smoke"
_SOURCE = Path(__file__).parent
_FILES = ("go.mod", "main.go", "__init__.py")
_ONE_AT_A_TIME = threading.Lock()


def tag() -> str:
    """The image's name with its tag, which changes with what it is made from."""
    return f"{NAME}:{_key()}"


def archive() -> Path:
    """The image as a file that `ctr images import` takes; built on the first call."""
    folder = Path(os.environ.get("CARAVAN_CACHE", Path.home() / ".cache/caravan")) / "smoke" / _key()
    made = folder / "smoke.tar"
    folder.mkdir(parents=True, exist_ok=True)
    with _ONE_AT_A_TIME:  # every node of a cluster asks at once
        if not made.exists():
            with TemporaryDirectory(dir=folder) as scratch:
                part = Path(scratch) / made.name
                part.write_bytes(_docker_archive(_program(Path(scratch))))
                part.replace(made)
    return made


def _key() -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((_SOURCE / name).read_bytes())
    return digest.hexdigest()[:12]


def _program(folder: Path) -> bytes:
    go = shutil.which("go")
    assert go, "the smoke test's image is built with Go (golang in Debian), which is not installed here"
    built = folder / "program"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    command = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), "."]
    subprocess.run(command, cwd=_SOURCE, env=environment, check=True, timeout=300)
    return built.read_bytes()


def _docker_archive(program: bytes) -> bytes:
    """An image of one layer with one file, in `docker save`'s layout."""
    layer = _tar({"smoke": program}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/smoke"], "Cmd": ["serve"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest: list[dict[str, Any]] = [{"Config": "config.json", "RepoTags": [tag()], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        },
        mode=0o644,
    )


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive_file:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive_file.addfile(entry, io.BytesIO(content))
    return whole.getvalue()
