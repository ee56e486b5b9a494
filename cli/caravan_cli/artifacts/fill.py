"""Fill a mirror: what is missing is downloaded, four at a time, or built from source, one after the other."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from typing import Protocol

import httpx

from caravan_cli.artifacts import download
from caravan_cli.artifacts.catalogue import Artifact, Kind
from caravan_cli.artifacts.mirror import Mirror
from caravan_cli.artifacts.problems import no_sum
from caravan_cli.artifacts.registry import Puller
from caravan_cli.artifacts.source import Workshop
from caravan_cli.errors import CliError

PARALLEL = 4  # downloads; more would only share the same line


class Report(Protocol):
    """Is told how it goes."""

    def received(self, bytes_: int) -> None:
        """So many bytes came."""

    def building(self, what: str) -> None:
        """This is being built, which may take minutes."""

    def done(self, artifact: Artifact, bytes_: int, seconds: float) -> None:
        """The mirror has it now."""

    def left_out(self, artifact: Artifact, reason: str) -> None:
        """It can't be had this way, which is no error."""


def from_official(mirror: Mirror, artifacts: Sequence[Artifact], report: Report, http: httpx.Client) -> None:
    """Download what is missing. Refuses before the first byte where a sum isn't known; an error ends all the rest."""
    missing = [each for each in artifacts if mirror.lacks(each, None if each.member else each.sha256)]
    for artifact in missing:
        if not artifact.downloadable:
            raise no_sum(artifact.path)
    given_up = Event()

    def received(bytes_: int) -> None:
        if given_up.is_set():
            raise CliError("Another download failed.")
        report.received(bytes_)

    with ThreadPoolExecutor(PARALLEL) as pool:
        started = [pool.submit(_add, mirror, each, _downloading(each, http, received), report) for each in missing]
        try:
            for each in as_completed(started):
                each.result()
        except BaseException:
            given_up.set()
            pool.shutdown(cancel_futures=True)
            raise


def from_source(mirror: Mirror, artifacts: Sequence[Artifact], report: Report, kept: Path) -> None:
    """Build what is missing; programs and packages are kept below `kept` for the next time."""
    missing = [each for each in artifacts if mirror.lacks(each)]
    workshop = Workshop(kept, missing, report.building)
    for artifact in missing:
        if artifact.not_from_source:
            report.left_out(artifact, artifact.not_from_source)
        else:
            _add(mirror, artifact, workshop.maker(artifact), report)


def _add(mirror: Mirror, artifact: Artifact, write: Callable[[Path], None], report: Report) -> None:
    began = time.monotonic()
    size = mirror.add(artifact, write)
    report.done(artifact, size, time.monotonic() - began)


def _downloading(artifact: Artifact, http: httpx.Client, received: download.Progress) -> Callable[[Path], None]:
    if artifact.kind is Kind.IMAGE:
        puller = Puller(http, str(artifact.image))
        return lambda target: puller.pull(artifact.digest, target, received)
    url, sha256, member = str(artifact.url), str(artifact.sha256), artifact.member
    if member:
        return lambda target: download.fetch_member(http, url, sha256, member, target, received)
    return lambda target: download.fetch(http, url, sha256, target, received)
