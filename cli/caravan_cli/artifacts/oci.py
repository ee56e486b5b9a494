"""Container images as single files, without any engine: an OCI image layout in a tar.

Format: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. `ctr images import` takes the name
from the annotation `io.containerd.image.name`; a `manifest.json` beside it lets `docker load` read the same file.
Built images are reproducible: the same content gives the same bytes.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME_ANNOTATION = "io.containerd.image.name"
REF_ANNOTATION = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Blob:
    """A piece of an image: its digest ("sha256:…"), media type, and the file that holds it."""

    digest: str
    media_type: str
    file: Path

    @property
    def descriptor(self) -> dict[str, Any]:
        """As the image specification writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.file.stat().st_size}


def write_image(name: str, root: Path, entrypoint: Sequence[str], target: Path) -> None:
    """Make the image `name` (repository:tag) of one layer, the folder `root`, as the file `target`."""
    with TemporaryDirectory(dir=target.parent, prefix=".image-") as scratch:
        layer_file = Path(scratch) / "layer"
        with layer_file.open("wb") as file:
            write_tar(root, file)
        layer = Blob(_digest_of(layer_file), LAYER, layer_file)
        config = _blob(_config(layer.digest, entrypoint), CONFIG, Path(scratch) / "config")
        manifest = _blob(_manifest(config, layer), MANIFEST, Path(scratch) / "manifest")
        write_archive(name, manifest, config, [layer], target)


def write_tar(root: Path, target: IO[bytes] | GzipFile) -> None:
    """Put a folder into a tar: sorted, owned by root, without times."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            info = tar.gettarinfo(path, arcname=str(path.relative_to(root)))
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            if info.isreg():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)


def write_archive(name: str, manifest: Blob, config: Blob, layers: Iterable[Blob], target: Path) -> None:
    """Put an image's blobs into one file that `ctr images import` and `docker load` read."""
    layers = list(layers)
    tag = name.rpartition(":")[2]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest.descriptor | {"annotations": {NAME_ANNOTATION: name, REF_ANNOTATION: tag}}],
    }
    docker = [{"Config": _path(config), "RepoTags": [name], "Layers": [_path(layer) for layer in layers]}]
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", _json(index))
        _add(tar, "manifest.json", _json(docker))
        for blob in {each.digest: each for each in (manifest, config, *layers)}.values():
            info = tarfile.TarInfo(_path(blob))
            info.size, info.mode = blob.file.stat().st_size, 0o644
            with blob.file.open("rb") as file:
                tar.addfile(info, file)


def _config(layer_digest: str, entrypoint: Sequence[str]) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint),
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [layer_digest],
        },  # the layer isn't compressed: its digest is its diff id
    }


def _manifest(config: Blob, layer: Blob) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": [layer.descriptor],
    }


def _blob(content: dict[str, Any], media_type: str, file: Path) -> Blob:
    file.write_bytes(_json(content))
    return Blob(_digest_of(file), media_type, file)


def _digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def _path(blob: Blob) -> str:
    return os.path.join("blobs", *blob.digest.split(":"))


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
