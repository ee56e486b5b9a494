"""Which files each role's machines fetch, from where, and what they must hash to: `caravan_artifacts` of an inventory.

The catalogue (`playbooks/artifacts/v<minor>.yml`) says what a version is made of. With a mirror, a directory or an
http(s) URL, the files are those below it and the sums those of its `SHA256SUMS`: a mirror that was built from source
has other ones than upstream. Without a mirror binaries and archives come from upstream under the catalogue's sums, and
container images are left to the container runtime.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import aiohttp
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import Cni, Network, Role
from caravan_shared.plumbing.errors import GiveUp, Retry

SUMS = "SHA256SUMS"
BIN = "/usr/local/bin"
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)  # seconds
SHOWN = 3
"""Missing files that an error names."""


class MirrorUnreachable(Retry):
    """The mirror's server did not answer, or not as expected."""

    def __init__(self, mirror: str, why: str) -> None:
        super().__init__(f"the artifact mirror {mirror} cannot be asked: {why}", after=5.0)


class ArtifactsIncomplete(GiveUp):
    """A cluster of this version cannot be made of what is there; the reason names the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, who_can_fix=WhoCanFix.OPERATOR)


class File(BaseModel):
    """A file of the catalogue. Keys that only the filling of mirrors needs are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    kind: Literal["binary", "archive", "image", "chart"]
    path: str
    url: str | None = None
    sha256: str | dict[str, str | None] | None = None
    member: str | None = None
    """Where `url` is an archive: the one file of it that is meant."""
    image: str | None = None
    into: str | None = None
    creates: str | None = None
    roles: tuple[Role, ...]
    cni: Cni | None = None
    virtual_ip: bool = False
    not_from_source: str | None = None
    """Set where machines may bring their own, and mirrors may lack it."""

    def serves(self, network: Network) -> bool:
        """Whether clusters with such a network need it."""
        return self.cni in (None, network.cni) and (network.virtual_ip is not None or not self.virtual_ip)

    def at(self, version: str) -> "File":
        """The file for one version, such as 1.34.2."""
        texts = {key: value.replace("{version}", f"v{version}") for key, value in self if isinstance(value, str)}
        sha256 = self.sha256.get(version) if isinstance(self.sha256, dict) else self.sha256
        return self.model_copy(update={**texts, "sha256": sha256})


@dataclass(frozen=True)
class Origin:
    """Where a file is had from."""

    url: str
    sha256: str
    member: str | None = None


class Source(Protocol):
    """Where files are had from."""

    def find(self, file: File) -> Origin | None:
        """The file's origin; None where it is left to the machine. Raises KeyError where it is needed and missing."""
        ...

    def complaint(self, missing: str) -> str:
        """The sentence that says that these files are missing, and what to do."""
        ...


class Artifacts:
    """Answers for versions. Files are read again only when they changed."""

    def __init__(self, playbooks_dir: Path, mirror: str) -> None:
        self._catalogues = playbooks_dir / "artifacts"
        self._mirror = mirror.rstrip("/")
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._fetched: tuple[str, dict[str, str]] | None = None
        """The entity tag that the sums came with, and they."""

    async def for_roles(self, version: str, network: Network) -> dict[str, dict[str, Any]]:
        """Role → names of its images `pause` and `kube_vip`, `binaries`, `archives`, `images` and `charts`.

        Raises ArtifactsIncomplete where a file is missing or has no sum, MirrorUnreachable where a server is silent.
        """
        files = self._files(version)
        source = Mirror(self._mirror, await self._sums()) if self._mirror else Upstream()
        return by_role([file for file in files if file.serves(network)], source)

    def _files(self, version: str) -> list[File]:
        path = self._catalogues / f"v{version.rpartition('.')[0]}.yml"
        if not path.is_file():
            raise ArtifactsIncomplete(f"there is no catalogue of files for Kubernetes {version}: {path} is missing")
        patches, files = self._cached(path, lambda text: _catalogue(path, text))
        if version not in patches:
            raise ArtifactsIncomplete(f"{path} does not list {version}, only {', '.join(patches)}")
        return [file.at(version) for file in files]

    async def _sums(self) -> dict[str, str]:
        if self._mirror.startswith(("http://", "https://")):
            return await self._fetch_sums()
        path = Path(self._mirror) / SUMS
        if not path.is_file():
            raise ArtifactsIncomplete(
                f"the artifact mirror {self._mirror} has no {SUMS}: fill it with `make artifacts`"
            )
        sums: dict[str, str] = self._cached(path, parse_sums)
        return sums

    async def _fetch_sums(self) -> dict[str, str]:
        headers = {"If-None-Match": self._fetched[0]} if self._fetched else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session,
                session.get(f"{self._mirror}/{SUMS}", headers=headers) as response,
            ):
                if response.status == 304 and self._fetched:
                    return self._fetched[1]
                if response.status in (403, 404):
                    raise ArtifactsIncomplete(
                        f"the artifact mirror {self._mirror} has no {SUMS} (HTTP {response.status})"
                    )
                response.raise_for_status()
                sums = parse_sums(await response.text())
                self._fetched = (response.headers["ETag"], sums) if "ETag" in response.headers else None
                return sums
        except (aiohttp.ClientError, TimeoutError) as error:
            raise MirrorUnreachable(self._mirror, str(error) or type(error).__name__) from error

    def _cached(self, path: Path, parse: Callable[[str], Any]) -> Any:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, parse(path.read_text()))
        return known[1]


def parse_sums(text: str) -> dict[str, str]:
    """Path → SHA-256, from lines as sha256sum(1) writes them."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {path.removeprefix("*").removeprefix("./"): digest for digest, path in rows}


@dataclass(frozen=True)
class Mirror:
    """Files below a directory or URL. What machines may bring themselves need not be there."""

    where: str
    sums: Mapping[str, str]

    def find(self, file: File) -> Origin | None:
        """By its path in the list of sums."""
        if file.path not in self.sums and file.not_from_source:
            return None
        return Origin(f"{self.where}/{file.path}", self.sums[file.path])

    def complaint(self, missing: str) -> str:
        """It is not filled."""
        return f"the artifact mirror {self.where} lacks {missing}: fill it with `make artifacts`"


class Upstream:
    """Files as their projects publish them; images are the container runtime's affair."""

    def find(self, file: File) -> Origin | None:
        """By the catalogue's address and sum."""
        if file.kind == "image":
            return None
        if not file.url or not isinstance(file.sha256, str):
            raise KeyError(file.path)
        return Origin(file.url, file.sha256, file.member)

    def complaint(self, missing: str) -> str:
        """The catalogue holds no sum for this version."""
        return f"no checksum is known of {missing} as published: set CARAVAN_BOOTSTRAPPER_ARTIFACTS to a mirror"


def by_role(files: Sequence[File], source: Source) -> dict[str, dict[str, Any]]:
    """The files of each role, as the playbooks take them. Raises ArtifactsIncomplete, naming what is missing."""
    found: dict[str, Origin | None] = {}
    missing = []
    for file in files:
        try:
            found[file.name] = source.find(file)
        except KeyError:
            missing.append(file.path)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ArtifactsIncomplete(source.complaint(", ".join(missing[:SHOWN]) + more))
    return {role.value: _of_role([file for file in files if role in file.roles], found) for role in Role}


def _of_role(files: list[File], found: Mapping[str, Origin | None]) -> dict[str, Any]:
    had = [(file, origin) for file in files if (origin := found[file.name])]
    return {
        "pause": _image(files, "/pause:"),
        "kube_vip": _image(files, "/kube-vip:"),
        "binaries": [_entry(f, o, path=f"{BIN}/{f.name}", member=o.member) for f, o in had if f.kind == "binary"],
        "archives": [_entry(f, o, into=f.into, creates=f.creates) for f, o in had if f.kind == "archive"],
        "images": [_entry(f, o, name=f.image) for f, o in had if f.kind == "image"],
        "charts": [_entry(f, o) for f, o in had if f.kind == "chart"],
    }


def _image(files: Sequence[File], part: str) -> str:
    """The name of the image whose name has this part; empty where there is none."""
    return next((file.image for file in files if file.image and part in file.image), "")


def _entry(file: File, origin: Origin, **more: str | None) -> dict[str, Any]:
    entry = {"name": file.name, "url": origin.url, "sha256": origin.sha256, **more}
    return {key: value for key, value in entry.items() if value is not None}


def _catalogue(path: Path, text: str) -> tuple[tuple[str, ...], list[File]]:
    try:
        content = yaml.safe_load(text)
        return tuple(map(str, content["patches"])), [File.model_validate(file) for file in content["files"]]
    except (yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ArtifactsIncomplete(f"the catalogue {path} cannot be read: {json.dumps(str(error))}") from error
