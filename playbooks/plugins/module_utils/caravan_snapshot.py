"""Save what etcd holds into a file and prove that the file is whole. Used by backups and before upgrades."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.caravan_commands import run
from ansible.module_utils.caravan_etcdctl import Etcdctl

SAVES_WITHIN_S = 600  # etcd's largest advised size is 8 GiB; that takes minutes on a slow disk
CHUNK = 1 << 20  # bytes hashed at a time


def save(etcd: Etcdctl, folder: str, prefix: str) -> dict[str, Any]:
    """Take a snapshot from the first endpoint: `path`, `sha256`, `bytes`, `revision`, `keys`.

    The file gets its name only once it is whole and etcd's own checksum in it has been verified, with `<name>.sha256`
    (sha256sum's format) beside it.
    """
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = Path(folder) / f"{prefix}-{moment}.db"
    part = path.with_suffix(".part")
    try:
        etcd.tell("snapshot", "save", str(part), within_s=SAVES_WITHIN_S)
        part.chmod(0o600)
        status = json.loads(run(["etcdutl", "snapshot", "status", str(part), "--write-out", "json"], SAVES_WITHIN_S))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    checksum = sha256(path)
    Path(f"{path}.sha256").write_text(f"{checksum}  {path.name}\n")
    return {
        "path": str(path),
        "sha256": checksum,
        "bytes": path.stat().st_size,
        "revision": status["revision"],
        "keys": status["totalKey"],
    }


def sha256(path: Path) -> str:
    """The file's checksum, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
