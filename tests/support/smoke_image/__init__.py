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
from pathlib import Path
from typing import Any

NAME = "caravan.test/smoke"
_SOURCE = Path(__file__).parent
_FILES = ("go.mod", "main.go", "__init__.py")


def tag() -> str:
    """The image's name with its tag, which changes with what it is made from."""
    return f"{NAME}:{_key()}"


def archive() -> Path:
    """The image as a file that `ctr images import` takes; built on the first call."""
    folder = Path(os.environ.get("CARAVAN_CACHE", Path.home() / ".cache/caravan")) / "smoke" / _key()
    made = folder / "smoke.tar"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"smoke.{os.getpid()}.part"
        part.write_bytes(_docker_archive(_program(folder)))
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
    built = folder / f"program.{os.getpid()}"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    command = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), "."]
    subprocess.run(command, cwd=_SOURCE, env=environment, check=True, timeout=300)
    program = built.read_bytes()
    built.unlink()
    return program


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
