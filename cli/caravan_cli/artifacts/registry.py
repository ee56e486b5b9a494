"""Fetch a container image from its registry into one file, without any engine: manifest, config and layers by digest.

Protocol: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md, with the anonymous bearer tokens that
public registries ask for (https://distribution.github.io/distribution/spec/auth/token/). Every piece is checked against
the digest that names it; the image itself against the catalogue's digest, where upstream's is known.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from caravan_cli.artifacts import oci
from caravan_cli.artifacts.download import Progress, stream
from caravan_cli.artifacts.problems import no_member, no_such_file, unreachable, wrong_sum

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (oci.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Reference:
    """An image's name, taken apart: registry.k8s.io / coredns/coredns : v1.12.1."""

    registry: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, name: str) -> "Reference":
        """Takes apart a name that has both registry and tag, as all in a catalogue do."""
        registry, _, rest = name.partition("/")
        repository, _, tag = rest.rpartition(":")
        return cls(registry, repository, tag)

    def url(self, what: str) -> str:
        """Where the registry has a manifest or blob of this repository."""
        return f"https://{self.registry}/v2/{self.repository}/{what}"


class Puller:
    """Fetches one image; holds the token that its registry gave."""

    def __init__(self, http: httpx.Client, image: str) -> None:
        self._http = http
        self._image = image
        self._reference = Reference.parse(image)
        self._headers: dict[str, str] = {}

    def pull(self, digest: str | None, target: Path, progress: Progress) -> None:
        """Write the image for linux/amd64 to the file `target`. `digest`: what the name must stand for, where known."""
        with TemporaryDirectory(dir=target.parent, prefix=".image-") as scratch:
            folder = Path(scratch)
            answer = self._manifest(digest or self._reference.tag, digest)
            if _media_type(answer) in INDEX_TYPES:
                chosen = self._for_this_platform(answer.json())
                answer = self._manifest(chosen, chosen)
            content = answer.json()
            manifest = folder / "manifest"
            manifest.write_bytes(answer.content)
            oci.write_archive(
                self._image,
                oci.Blob(_digest(answer.content), _media_type(answer), manifest),
                self._blob(content["config"], folder, progress),
                [self._blob(layer, folder, progress) for layer in content["layers"]],
                target,
            )

    def _manifest(self, name: str, digest: str | None) -> httpx.Response:
        url = self._reference.url(f"manifests/{name}")
        accept = {"Accept": ", ".join(INDEX_TYPES + MANIFEST_TYPES)}
        answer = self._get(url, accept | self._headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._headers = self._token(answer.headers.get("www-authenticate", ""))
            answer = self._get(url, accept | self._headers)
        if answer.status_code != httpx.codes.OK:
            raise no_such_file(url, answer.status_code)
        if digest and _digest(answer.content) != digest:
            raise wrong_sum(self._image, url, expected=digest, found=_digest(answer.content))
        return answer

    def _token(self, challenge: str) -> dict[str, str]:
        asked = dict(_CHALLENGE.findall(challenge))
        realm = asked.pop("realm", "")
        answer = self._get(str(httpx.URL(realm, params=asked)), {})
        if answer.status_code != httpx.codes.OK:
            raise no_such_file(realm, answer.status_code)
        given = answer.json()
        return {"Authorization": f"Bearer {given.get('token') or given['access_token']}"}

    def _get(self, url: str, headers: dict[str, str]) -> httpx.Response:
        try:
            return self._http.get(url, headers=headers)
        except httpx.HTTPError as error:
            raise unreachable(url, str(error) or type(error).__name__) from error

    def _for_this_platform(self, index: dict[str, Any]) -> str:
        for each in index["manifests"]:
            platform = each.get("platform", {})
            if platform.get("os") == "linux" and platform.get("architecture") == "amd64":
                return str(each["digest"])
        raise no_member(self._image, "variant for linux/amd64", self._reference.registry)

    def _blob(self, descriptor: dict[str, Any], folder: Path, progress: Progress) -> oci.Blob:
        digest = str(descriptor["digest"])
        file = folder / digest.rpartition(":")[2]
        url = self._reference.url(f"blobs/{digest}")
        if not file.exists():  # an image may have the same layer twice
            found = f"sha256:{stream(self._http, url, file, progress, self._headers)}"
            if found != digest:
                raise wrong_sum(f"a layer of {self._image}", url, expected=digest, found=found)
        return oci.Blob(digest, str(descriptor["mediaType"]), file)


def _media_type(answer: httpx.Response) -> str:
    return str(answer.headers["content-type"]).partition(";")[0]  # manifests needn't name their own


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
