"""What a cluster of one Kubernetes minor is made of: the files, where they come from and what they must hash to.

A catalogue is `playbooks/artifacts/v<minor>.yml`; its README tells the shape. Pure, but for reading those files.
"""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from caravan_shared.contracts.spec import Cni

CATALOGUES = Path(__file__).resolve().parents[3] / "playbooks" / "artifacts"

Sha256 = str  # 64 hexadecimal digits
PerPatch = str | dict[str, str] | None  # one value for all patches of the minor, or one a patch


class Kind(StrEnum):
    """What becomes of a file on a machine."""

    BINARY = "binary"
    """Installed as /usr/local/bin/<name>, mode 0755."""
    ARCHIVE = "archive"
    """A gzipped tar, unpacked below `into`."""
    IMAGE = "image"
    """A container image, imported into the container runtime."""
    CHART = "chart"
    """A Helm chart."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Program(_Strict):
    """One executable made from a Go module, or from one C file that a Go module carries.

    `into`: its path in the image or archive. `stamp`: Go variables set by the linker. `tags`: Go's build tags. `cgo`:
    needs a C compiler. `require`: newer versions of modules than its own go.mod asks for. `sum`: the module's hashes as
    in a go.sum (its zip's, its go.mod's), where the checksum database doesn't answer for it.
    """

    module: str
    version: str
    package: str = "."
    c_file: str | None = None
    into: str = ""
    stamp: dict[str, str] = {}
    tags: tuple[str, ...] = Field(default=(), exclude_if=lambda tags: not tags)  # without, the key is as it was before
    cgo: bool = False
    require: dict[str, str] = {}
    sum: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """Names what is built: equal for equal programs, wherever they go."""
        return hashlib.sha256(self.model_dump_json(exclude={"into"}).encode()).hexdigest()[:16]

    def at(self, version: str) -> Self:
        """This program for that Kubernetes version (as v1.34.2): `{version}` and its parts filled in."""
        major, minor, _ = version.removeprefix("v").split(".")
        named = {"version": version, "major": major, "minor": minor}
        stamp = {variable: value.format(**named) for variable, value in self.stamp.items()}
        return self.model_copy(update={"version": self.version.format(**named), "stamp": stamp})


class Copy(_Strict):
    """A file or folder that a Go module carries as it is; `path` is there, `into` in the image, archive or chart."""

    module: str
    version: str
    path: str
    into: str


class Source(_Strict):
    """How a file is made where it isn't to be had ready-made: from Debian packages, copies and programs.

    `links`: symbolic links in an image, path to target.
    """

    programs: tuple[Program, ...] = ()
    packages: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    links: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()


class Entry(_Strict):
    """One file of a mirror, for every patch of the minor."""

    name: str
    kind: Kind
    path: str
    url: str | None = None
    sha256: PerPatch = None
    member: str | None = None
    image: str | None = None
    digest: PerPatch = None
    into: str | None = None
    creates: str | None = None
    version: str | None = None
    roles: tuple[str, ...]
    cni: Cni | None = None
    virtual_ip: bool = False
    source: Source | None = None
    not_from_source: str | None = Field(default=None, description="Why a source build leaves it out, for a person.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = {
            Kind.BINARY: ["url"],
            Kind.ARCHIVE: ["url", "into", "creates"],
            Kind.IMAGE: ["image"],
            Kind.CHART: ["url"],
        }[self.kind]
        for field in missing:
            if getattr(self, field) is None:
                raise ValueError(f"{self.name}: a {self.kind} needs `{field}`")
        if (self.source is None) == (self.not_from_source is None):
            raise ValueError(f"{self.name}: say either `source` or `not_from_source`")
        return self

    def at(self, patch: str) -> "Artifact":
        """This file for one patch, as 1.34.2."""
        version = f"v{patch}"
        source = self.source
        if source is not None:
            source = source.model_copy(update={"programs": tuple(each.at(version) for each in source.programs)})
        return Artifact(
            name=self.name.format(version=version),
            kind=self.kind,
            path=self.path.format(version=version),
            url=self.url and self.url.format(version=version),
            sha256=_for_patch(self.sha256, patch),
            member=self.member,
            image=self.image and self.image.format(version=version),
            digest=_for_patch(self.digest, patch),
            source=source,
            not_from_source=self.not_from_source,
        )


class Artifact(_Strict):
    """One file of a mirror: where it lies there (`path`), and where it comes from.

    `sha256` is of what `url` gives; with `member`, that is a gzipped tar, and the file is that member of it.
    `digest` is the OCI digest ("sha256:…") of what `image` names.
    """

    name: str
    kind: Kind
    path: str
    url: str | None = None
    sha256: Sha256 | None = None
    member: str | None = None
    image: str | None = None
    digest: str | None = None
    source: Source | None = None
    not_from_source: str | None = None

    @property
    def downloadable(self) -> bool:
        """Whether an official host has it and we know what it must hash to; images are told by digest or pinned."""
        return self.kind is Kind.IMAGE or self.sha256 is not None


class Catalogue(_Strict):
    """One minor: the patches that can be installed, newest first, and the files each is made of."""

    minor: str
    patches: tuple[str, ...] = Field(min_length=1)
    files: tuple[Entry, ...]

    def artifacts(self, patch: str) -> tuple[Artifact, ...]:
        """The files of one patch, in the catalogue's order."""
        return tuple(entry.at(patch) for entry in self.files)

    def newest_downloadable(self) -> str | None:
        """The newest patch all of whose files can be had from official hosts; None where no patch can."""
        return next((patch for patch in self.patches if all(a.downloadable for a in self.artifacts(patch))), None)


def load(folder: Path = CATALOGUES) -> tuple[Catalogue, ...]:
    """All catalogues of a folder, newest minor first. Raises ValueError for one that breaks the shape."""
    found = [Catalogue.model_validate(yaml.safe_load(path.read_text())) for path in folder.glob("v*.yml")]
    return tuple(sorted(found, key=lambda each: [int(part) for part in each.minor.split(".")], reverse=True))


def _for_patch(value: PerPatch, patch: str) -> str | None:
    return value.get(patch) if isinstance(value, dict) else value
