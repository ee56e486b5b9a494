"""Fetch a file from an official host: checked before it is named, so no wrong or half one ever lies in a mirror."""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from caravan_cli.artifacts.problems import no_member, no_such_file, unreachable, wrong_sum

TIMEOUT_S = 60.0  # of silence; a slow line that still moves is let go on
_CHUNK = 1 << 20  # bytes

Progress = Callable[[int], None]  # told how many bytes came since the last time


def client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client for many downloads at once; it honours HTTPS_PROXY and NO_PROXY."""
    return httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, transport=transport)


def fetch(http: httpx.Client, url: str, sha256: str, target: Path, progress: Progress) -> None:
    """Download `url` to the file `target`. Raises CliError where it can't be had or hashes to something else."""
    found = stream(http, url, target, progress)
    if found != sha256:
        target.unlink()
        raise wrong_sum(target.name.lstrip("."), url, expected=sha256, found=found)


def fetch_member(http: httpx.Client, url: str, sha256: str, member: str, target: Path, progress: Progress) -> None:
    """Download the gzipped tar `url`, check it, and write its file `member` to `target`."""
    with TemporaryDirectory(dir=target.parent, prefix=".archive-") as scratch:
        archive = Path(scratch) / url.rpartition("/")[2]
        fetch(http, url, sha256, archive, progress)
        with tarfile.open(archive) as tar:
            try:
                inside = tar.extractfile(member)
            except KeyError:
                inside = None
            if inside is None:
                raise no_member(target.name, member, url)
            with inside, target.open("wb") as file:
                shutil.copyfileobj(inside, file)


def stream(
    http: httpx.Client, url: str, target: Path, progress: Progress, headers: dict[str, str] | None = None
) -> str:
    """Write what `url` gives to `target`; answers its SHA-256. Nothing is left where it breaks off."""
    digest = hashlib.sha256()
    try:
        with http.stream("GET", url, headers=headers) as answer, target.open("wb") as file:
            if answer.status_code != httpx.codes.OK:
                raise no_such_file(url, answer.status_code)
            for chunk in answer.iter_bytes(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
                progress(len(chunk))
            os.fsync(file.fileno())
    except httpx.HTTPError as error:
        target.unlink(missing_ok=True)
        raise unreachable(url, str(error) or type(error).__name__) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return digest.hexdigest()
