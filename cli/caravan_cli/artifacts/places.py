"""Where mirrors lie on this machine: by what is in them, so a changed catalogue never meets an old mirror's files."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from caravan_cli.artifacts.catalogue import Artifact
from caravan_cli.cache import cache_home

_BUILDERS = ("go.py", "debian.py", "oci.py", "source.py")  # what decides which bytes a source build gives


class Origin(StrEnum):
    """Where a mirror's files come from."""

    OFFICIAL = "official"
    """Downloaded from upstream's hosts, checked against the catalogue."""
    SOURCE = "source"
    """Built here from Go modules and Debian packages."""


def cache() -> Path:
    """The folder of everything kept about artifacts: CARAVAN_CACHE or ~/.cache/caravan, then `artifacts`."""
    return cache_home() / "artifacts"


def default_mirror(origin: Origin, artifacts: Iterable[Artifact]) -> Path:
    """The mirror for exactly these artifacts from that origin."""
    return cache() / f"{origin}-{key(origin, artifacts)}"


def key(origin: Origin, artifacts: Iterable[Artifact]) -> str:
    """A hash of what decides a mirror's content: the catalogue's say, and for builds the code that makes them."""
    digest = hashlib.sha256()
    said = {"path", "kind", "source", "image"} if origin is Origin.SOURCE else None
    for artifact in sorted(artifacts, key=lambda each: each.path):
        digest.update(artifact.model_dump_json(include=said).encode())
    if origin is Origin.SOURCE:
        for name in _BUILDERS:
            digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]
