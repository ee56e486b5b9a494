"""Fill a mirror: what is missing is downloaded, four at a time, or built from source, one after the other."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

import httpx

from caravan_cli.artifacts import download
from caravan_cli.artifacts.catalogue import Artifact, Kind
from caravan_cli.artifacts.mirror import Mirror
from caravan_cli.artifacts.problems import no_sum
from caravan_cli.artifacts.registry import Puller
from caravan_cli.artifacts.source import Workshop

PARALLEL = 4  # downloads; more would only share the same line


class Report(Protocol):
    """Is told how it goes."""

    def received(self, bytes_: int) -> None:
        """So many bytes came."""

    def done(self, artifact: Artifact, bytes_: int, seconds: float) -> None:
        """The mirror has it now."""

    def left_out(self, artifact: Artifact, reason: str) -> None:
        """It can't be had this way, which is no error."""


def from_official(mirror: Mirror, artifacts: Sequence[Artifact], report: Report, http: httpx.Client) -> None:
    """Download what is missing. Refuses before the first byte where a sum isn't known."""
    missing = mirror.missing(artifacts)
    for artifact in missing:
        if not artifact.downloadable:
            raise no_sum(artifact.path)
    with ThreadPoolExecutor(PARALLEL) as pool:
        started = [pool.submit(_timed, mirror, each, _downloading(each, http, report), report) for each in missing]
        try:
            for each in as_completed(started):
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def from_source(mirror: Mirror, artifacts: Sequence[Artifact], report: Report, kept: Path) -> None:
    """Build what is missing; programs and packages are kept below `kept` for the next time."""
    missing = mirror.missing(artifacts)
    workshop = Workshop(kept, missing)
    for artifact in missing:
        if artifact.not_from_source:
            report.left_out(artifact, artifact.not_from_source)
            continue
        _timed(mirror, artifact, lambda target, artifact=artifact: workshop.make(artifact, target), report)


def _timed(mirror: Mirror, artifact: Artifact, write: Callable[[Path], None], report: Report) -> None:
    began = time.monotonic()
    size = mirror.add(artifact, write)
    report.done(artifact, size, time.monotonic() - began)


def _downloading(artifact: Artifact, http: httpx.Client, report: Report) -> Callable[[Path], None]:
    if artifact.kind is Kind.IMAGE:
        puller = Puller(http, str(artifact.image))
        return lambda target: puller.pull(artifact.digest, target, report.received)
    url, sha256 = str(artifact.url), str(artifact.sha256)
    if artifact.member:
        member = artifact.member
        return lambda target: download.fetch_member(http, url, sha256, member, target, report.received)
    return lambda target: download.fetch(http, url, sha256, target, report.received)
