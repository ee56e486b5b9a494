"""Debian packages with all they need, unpacked into a folder: iptables and its kin for images built from source.

Needs a Debian-like machine: apt fetches from the sources it has and checks their signatures. Told that nothing is
installed, it takes the whole closure. No maintainer script runs: what those would set up is the catalogue's `links`.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from caravan_cli.artifacts.problems import build_failed, no_tool

_NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/info",
    "usr/include",  # as the next, only for building programs that run where the packages are
    "usr/lib/gcc",
)


def unpack(packages: Sequence[str], root: Path, downloads: Path) -> None:
    """Put packages and what they depend on below `root`; the package files are kept in `downloads`."""
    for archive in _download(packages, downloads):
        _run(["dpkg-deb", "--extract", str(archive), str(root)], f"an image with {archive.name}")
    for folder in _NOT_NEEDED:
        shutil.rmtree(root / folder, ignore_errors=True)


def _download(packages: Sequence[str], downloads: Path) -> list[Path]:
    downloads.mkdir(parents=True, exist_ok=True)
    nothing_installed = downloads / "status"
    nothing_installed.touch()
    options = [f"Dir::State::status={nothing_installed}", "APT::Install-Recommends=false", "Debug::NoLocking=true"]
    chosen = _apt(options, "--simulate", packages)
    folder = downloads / hashlib.sha256(chosen.encode()).hexdigest()[:16]  # a newer package means another folder
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    _apt([*options, f"Dir::Cache::archives={folder}"], "--download-only", packages)
    return sorted(folder.glob("*.deb"))


def _apt(options: Sequence[str], how: str, packages: Sequence[str]) -> str:
    settings = [part for option in options for part in ("-o", option)]
    return _run(["apt-get", *settings, "--yes", how, "install", *packages], f"an image with {' '.join(packages)}")


def _run(command: Sequence[str], what: str) -> str:
    if shutil.which(command[0]) is None:
        raise no_tool(command[0], f"build {what}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise build_failed(what, done.stderr or done.stdout)
    return done.stdout
