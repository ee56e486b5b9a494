"""Artifact mirrors: what a catalogue says, what is fetched and refused, and how images and go.mod files are written."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from caravan_cli.artifacts import download, fill, go, oci, sums
from caravan_cli.artifacts.catalogue import CATALOGUES, Artifact, Catalogue, Kind, Program, load
from caravan_cli.artifacts.command import wanted
from caravan_cli.artifacts.mirror import Mirror, filling
from caravan_cli.artifacts.places import Origin, key
from caravan_cli.artifacts.registry import Puller, Reference
from caravan_cli.artifacts.source import batches, copy_out
from caravan_cli.errors import CliError
from caravan_cli.main import app

TOOL = b"#!/bin/sh\necho tool\n"


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Host:
    """Upstream's hosts: URL to content; counts what is asked for."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = files or {}
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """As a web server would."""
        self.asked.append(str(request.url))
        content = self.files.get(str(request.url))
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    @property
    def client(self) -> httpx.Client:
        """A client that reaches nobody else."""
        return download.client(httpx.MockTransport(self.answer))


class Heard:
    """A report that is remembered."""

    def __init__(self) -> None:
        self.done_paths: list[str] = []

    def received(self, bytes_: int) -> None:
        """Not remembered."""

    def building(self, what: str) -> None:
        """Not remembered."""

    def done(self, artifact: Artifact, bytes_: int, seconds: float) -> None:
        """A file is there."""
        self.done_paths.append(artifact.path)

    def left_out(self, artifact: Artifact, reason: str) -> None:
        """Not remembered."""


def binary(content: bytes = TOOL, **changes: object) -> Artifact:
    """A binary that upstream has at http://up/tool."""
    said = {"name": "tool", "kind": Kind.BINARY, "path": "tools/tool", "url": "http://up/tool"}
    return Artifact.model_validate({**said, "sha256": sha256(content), **changes})


def tgz(files: dict[str, bytes]) -> bytes:
    """A gzipped tar."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture(scope="module")
def catalogues() -> tuple[Catalogue, ...]:
    """Those of the repository."""
    return load()


def test_catalogues_list_two_adjacent_minors_and_every_version_on_offer(catalogues: tuple[Catalogue, ...]) -> None:
    minors = [int(each.minor.partition(".")[2]) for each in catalogues]
    assert minors == list(range(minors[0], minors[0] - len(minors), -1))
    assert len(minors) >= 2
    offered = yaml.safe_load((CATALOGUES.parent / "versions.yml").read_text())["versions"]
    assert set(offered) <= {patch for each in catalogues for patch in each.patches}


def test_each_minor_has_what_every_role_needs(catalogues: tuple[Catalogue, ...]) -> None:
    for each in catalogues:
        names = {entry.name.partition(":")[0] for entry in each.files}
        assert {"kubeadm", "kubelet", "kubectl", "etcd", "etcdctl", "containerd", "runc", "cni-plugins"} <= names
        assert {"registry.k8s.io/kube-proxy", "registry.k8s.io/pause", "registry.k8s.io/etcd"} <= names
        assert len({entry.path for entry in each.files}) == len(each.files)


def test_every_sum_looks_like_one(catalogues: tuple[Catalogue, ...]) -> None:
    for artifact in (a for each in catalogues for patch in each.patches for a in each.artifacts(patch)):
        assert artifact.sha256 is None or len(bytes.fromhex(artifact.sha256)) == 32, artifact.path
        assert artifact.digest is None or len(bytes.fromhex(artifact.digest.removeprefix("sha256:"))) == 32


def test_a_version_is_filled_into_paths_and_stamps(catalogues: tuple[Catalogue, ...]) -> None:
    kubelet = next(a for a in catalogues[0].artifacts("1.34.2") if a.name == "kubelet")
    assert kubelet.path == "kubernetes/v1.34.2/kubelet"
    assert kubelet.url == "https://dl.k8s.io/release/v1.34.2/bin/linux/amd64/kubelet"
    assert kubelet.source is not None
    assert kubelet.source.programs[0].stamp["k8s.io/component-base/version.gitMinor"] == "34"


def test_downloads_default_to_a_patch_with_sums_and_builds_to_the_newest(catalogues: tuple[Catalogue, ...]) -> None:
    below = catalogues[1]
    assert below.newest_downloadable() != below.patches[0], "this test needs a patch without published sums"
    assert f"kubernetes/v{below.patches[0]}/kubelet" in {a.path for a in wanted(catalogues, None, Origin.SOURCE)}
    official = {a.path for a in wanted(catalogues, None, Origin.OFFICIAL)}
    assert f"kubernetes/v{below.newest_downloadable()}/kubelet" in official


def test_unknown_version_is_refused_with_those_known(catalogues: tuple[Catalogue, ...]) -> None:
    with pytest.raises(CliError, match=r"no catalogue has Kubernetes 1\.2\.3.*1\.34\.2"):
        wanted(catalogues, ["1.2.3"], Origin.OFFICIAL)


def test_an_entry_that_lacks_what_its_kind_needs_is_refused(tmp_path: Path) -> None:
    entry = {"name": "x", "kind": "archive", "path": "x", "url": "http://x", "roles": ["worker"]}
    (tmp_path / "v1.9.yml").write_text(yaml.safe_dump({"minor": "1.9", "patches": ["1.9.0"], "files": [entry]}))
    with pytest.raises(ValidationError, match="x: a archive needs `into`"):
        load(tmp_path)


def test_filling_downloads_checks_and_lists(tmp_path: Path) -> None:
    host, heard = Host({"http://up/tool": TOOL}), Heard()
    with filling(tmp_path) as mirror:
        fill.from_official(mirror, [binary()], heard, host.client)
    assert (tmp_path / "tools/tool").read_bytes() == TOOL
    assert (tmp_path / "tools/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "SHA256SUMS").read_text() == f"{sha256(TOOL)}  tools/tool\n"
    assert heard.done_paths == ["tools/tool"]


def test_filling_again_downloads_nothing(tmp_path: Path) -> None:
    host = Host({"http://up/tool": TOOL})
    for _ in range(2):
        with filling(tmp_path) as mirror:
            fill.from_official(mirror, [binary()], Heard(), host.client)
    assert host.asked == ["http://up/tool"]


def test_filling_downloads_anew_what_the_catalogue_now_says_otherwise(tmp_path: Path) -> None:
    host = Host({"http://up/tool": TOOL})
    with filling(tmp_path) as mirror:
        fill.from_official(mirror, [binary()], Heard(), host.client)
    host.files["http://up/tool"] = b"newer"
    with filling(tmp_path) as mirror:
        fill.from_official(mirror, [binary(b"newer")], Heard(), host.client)
    assert (tmp_path / "tools/tool").read_bytes() == b"newer"


def test_a_wrong_sum_names_file_and_both_sums_and_leaves_nothing(tmp_path: Path) -> None:
    host = Host({"http://up/tool": b"evil"})
    with filling(tmp_path) as mirror, pytest.raises(CliError) as refused:
        fill.from_official(mirror, [binary()], Heard(), host.client)
    for fact in ("tool", "http://up/tool", sha256(TOOL), sha256(b"evil")):
        assert fact in str(refused.value)
    assert refused.value.problem is not None
    assert refused.value.problem.retry_helps
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_a_file_without_a_known_sum_is_not_even_asked_for(tmp_path: Path) -> None:
    host = Host({"http://up/tool": TOOL})
    with filling(tmp_path) as mirror, pytest.raises(CliError, match="no known SHA-256"):
        fill.from_official(mirror, [binary(sha256=None)], Heard(), host.client)
    assert host.asked == []


def test_a_member_of_an_archive_is_taken_out_after_the_archive_is_checked(tmp_path: Path) -> None:
    archive = tgz({"tool-v1/tool": TOOL})
    host = Host({"http://up/tool": archive})
    with filling(tmp_path) as mirror:
        fill.from_official(mirror, [binary(archive, member="tool-v1/tool")], Heard(), host.client)
    assert (tmp_path / "tools/tool").read_bytes() == TOOL
    assert sums.read(tmp_path) == {"tools/tool": sha256(TOOL)}


def test_an_archive_without_its_member_is_named(tmp_path: Path) -> None:
    archive = tgz({"other": TOOL})
    host = Host({"http://up/tool": archive})
    with filling(tmp_path) as mirror, pytest.raises(CliError, match="has no tool-v1/tool"):
        fill.from_official(mirror, [binary(archive, member="tool-v1/tool")], Heard(), host.client)


def test_a_host_that_does_not_answer_is_told_with_a_way_out(tmp_path: Path) -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host", request=request)

    http = download.client(httpx.MockTransport(silent))
    with filling(tmp_path) as mirror, pytest.raises(CliError, match=r"no route to host.*HTTPS_PROXY"):
        fill.from_official(mirror, [binary()], Heard(), http)


@pytest.mark.parametrize(("status", "retry"), [(404, False), (503, True)])
def test_a_refusal_says_whether_trying_again_helps(tmp_path: Path, status: int, retry: bool) -> None:
    http = download.client(httpx.MockTransport(lambda _: httpx.Response(status)))
    with filling(tmp_path) as mirror, pytest.raises(CliError, match=f"HTTP {status}") as refused:
        fill.from_official(mirror, [binary()], Heard(), http)
    assert refused.value.problem is not None
    assert refused.value.problem.retry_helps is retry


def test_what_a_killed_filling_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / ".tool.part").write_bytes(b"half")
    (tmp_path / "tools" / ".root-1").mkdir()
    with filling(tmp_path):
        pass
    assert list((tmp_path / "tools").iterdir()) == []


def caravan(*words: str) -> Result:
    """The command, without an API."""
    return CliRunner().invoke(app, ["artifacts", *words])


def test_verify_reads_every_file_and_names_the_changed_one(tmp_path: Path) -> None:
    with filling(tmp_path) as mirror:
        fill.from_official(mirror, [binary()], Heard(), Host({"http://up/tool": TOOL}).client)
    assert caravan("verify", str(tmp_path)).exit_code == 0
    (tmp_path / "tools/tool").write_bytes(b"evil")
    spoilt = caravan("verify", str(tmp_path))
    assert spoilt.exit_code == 1
    assert all(fact in spoilt.output for fact in ("tools/tool", sha256(TOOL), sha256(b"evil")))


def test_verify_names_what_is_missing(tmp_path: Path) -> None:
    sums.write(tmp_path, {"tools/tool": sha256(TOOL)})
    assert "tools/tool is missing" in caravan("verify", str(tmp_path)).output


def test_a_broken_list_of_sums_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(TOOL)}  tools/tool\nnonsense\n")
    with pytest.raises(CliError, match="line 2"):
        Mirror(tmp_path)


def test_list_shows_where_each_file_comes_from() -> None:
    shown = caravan("list", "--version", "1.34.2", "-o", "json")
    files = {each["path"]: each for each in json.loads(shown.stdout)}
    assert files["kubernetes/v1.34.2/kubeadm"]["url"].startswith("https://dl.k8s.io/")
    assert files["images/pause-3.10.1.tar"]["image"] == "registry.k8s.io/pause:3.10.1"


def test_a_mirrors_place_follows_from_its_content() -> None:
    old, new = binary(), binary(b"newer")
    assert key(Origin.OFFICIAL, [old]) != key(Origin.OFFICIAL, [new])
    assert key(Origin.SOURCE, [old]) == key(Origin.SOURCE, [new]), "upstream's sums don't change what is built"
    other = binary(path="tools/other")
    assert key(Origin.SOURCE, [old, other]) == key(Origin.SOURCE, [other, old])


class Registry:
    """A registry with one image behind an index and a token."""

    def __init__(self) -> None:
        self.layer, self.config = b"layer", b"{}"
        self.manifest = json.dumps({"config": self._of(self.config), "layers": [self._of(self.layer)] * 2}).encode()
        platforms = [("arm64", "sha256:0"), ("amd64", f"sha256:{sha256(self.manifest)}")]
        manifests = [{"digest": d, "platform": {"os": "linux", "architecture": a}} for a, d in platforms]
        self.index = json.dumps({"manifests": manifests}).encode()

    @staticmethod
    def _of(content: bytes) -> dict[str, object]:
        return {"mediaType": "x", "digest": f"sha256:{sha256(content)}", "size": len(content)}

    def answer(self, request: httpx.Request) -> httpx.Response:
        """As the distribution specification says."""
        path = request.url.path
        if path == "/token":
            return httpx.Response(200, json={"token": request.url.params["scope"]})
        if request.headers.get("authorization") != "Bearer pull:a/b":
            challenge = 'Bearer realm="https://reg.test/token",service="reg",scope="pull:a/b"'
            return httpx.Response(401, headers={"www-authenticate": challenge})
        if "/manifests/" in path and not path.endswith(sha256(self.manifest)):
            return httpx.Response(
                200, content=self.index, headers={"content-type": "application/vnd.oci.image.index.v1+json"}
            )
        if "/manifests/" in path:
            return httpx.Response(200, content=self.manifest, headers={"content-type": oci.MANIFEST})
        held = {sha256(each): each for each in (self.layer, self.config)}
        return httpx.Response(200, content=held[path.rpartition(":")[2]])

    def pull(self, digest: str | None, target: Path) -> None:
        """Fetch the image."""
        Puller(download.client(httpx.MockTransport(self.answer)), "reg.test/a/b:v1").pull(
            digest, target, lambda _: None
        )


def test_an_image_is_pulled_by_digest_for_this_platform(tmp_path: Path) -> None:
    registry = Registry()
    registry.pull(f"sha256:{sha256(registry.index)}", tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:
        names = tar.getnames()
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    assert index["manifests"][0]["digest"] == f"sha256:{sha256(registry.manifest)}"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "reg.test/a/b:v1"
    assert names.count(f"blobs/sha256/{sha256(registry.layer)}") == 1


def test_an_image_that_is_not_what_the_catalogue_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"reg\.test/a/b:v1 has a wrong SHA-256"):
        Registry().pull(f"sha256:{sha256(b'other')}", tmp_path / "image.tar")


def test_a_changed_layer_is_refused(tmp_path: Path) -> None:
    registry = Registry()
    honest, registry_answer = registry.layer, registry.answer
    spoil: Callable[[httpx.Response], httpx.Response] = lambda answer: (  # noqa: E731
        httpx.Response(200, content=b"evil") if answer.content == honest else answer
    )
    http = download.client(httpx.MockTransport(lambda request: spoil(registry_answer(request))))
    with pytest.raises(CliError, match="a layer of reg"):
        Puller(http, "reg.test/a/b:v1").pull(None, tmp_path / "image.tar", lambda _: None)
    assert not (tmp_path / "image.tar").exists()


def test_an_images_name_is_taken_apart() -> None:
    assert Reference.parse("registry.k8s.io/coredns/coredns:v1.12.1") == Reference(
        "registry.k8s.io", "coredns/coredns", "v1.12.1"
    )


def test_a_built_image_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for number in (1, 2):
        root = tmp_path / f"root{number}"
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "tool").write_bytes(TOOL)
        (root / "bin" / "sh").symlink_to("tool")
        oci.write_image("x/y:1", root, ["/bin/tool"], tmp_path / f"{number}.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        config = json.load(tar.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            assert {(each.name, each.uid, each.mtime) for each in layer} == {
                ("bin", 0, 0),
                ("bin/tool", 0, 0),
                ("bin/sh", 0, 0),
            }
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{manifest['Layers'][0].rpartition('/')[2]}"]


THEIRS = """module k8s.io/kubernetes

go 1.24.0

require (
	k8s.io/api v0.0.0
	go.etcd.io/etcd/api/v3 v3.6.5
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	go.etcd.io/etcd/api/v3 => ../api
	example.org/forked => example.org/fork v1.2.3
)
"""


def test_staging_modules_become_those_published_from_there() -> None:
    module = go.Module("k8s.io/kubernetes", "v1.34.2", Path("/nowhere"))
    written = go.go_mod(module, {"example.org/newer": "v9.0.0"}, THEIRS).splitlines()
    assert "go 1.24.0" in written
    assert "require k8s.io/kubernetes v1.34.2" in written
    assert "require example.org/newer v9.0.0" in written
    assert [line for line in written if line.startswith("replace")] == [
        "replace k8s.io/api => k8s.io/api v0.34.2",
        "replace example.org/forked => example.org/fork v1.2.3",
    ]


def test_what_a_module_needs_is_checked_against_its_own_sums_too(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    (ours / "go.sum").write_text("example.org/module v1.0.0 h1:a=\n")
    go.add_sums(go.Module("example.org/module", "v1.0.0", theirs), ours)
    assert (ours / "go.sum").read_text() == "example.org/module v1.0.0 h1:a=\n", "not every module needs others"
    (theirs / "go.sum").write_text("example.org/fork v1.2.3 h1:b=\n")
    go.add_sums(go.Module("example.org/module", "v1.0.0", theirs), ours)
    assert (ours / "go.sum").read_text() == "example.org/module v1.0.0 h1:a=\nexample.org/fork v1.2.3 h1:b=\n"


@pytest.mark.parametrize(
    ("package", "name"),
    [("k8s.io/kubernetes/cmd/kubelet", "kubelet"), ("go.etcd.io/etcd/etcdctl/v3", "etcdctl")],
)
def test_go_names_a_program_after_its_package(package: str, name: str) -> None:
    assert go.binary_name(package) == name


def test_what_is_stamped_may_hold_spaces_and_c_is_linked_in() -> None:
    plain = Program(module="m", version="v1", stamp={"m.version": "1.2 abc", "m.built": "here"})
    assert go.linker_flags(plain) == '-s -w -X "m.built=here" -X "m.version=1.2 abc"'
    with_c = Program(module="m", version="v1", cgo=True)
    assert go.linker_flags(with_c) == "-s -w -linkmode external -extldflags -static"


def test_programs_of_one_module_are_built_at_once_and_each_only_once() -> None:
    def program(package: str, version: str = "v1", into: str = "") -> Program:
        return Program(module="m", version=version, package=package, into=into)

    made = batches([program("./a"), program("./b"), program("./a", into="/bin/a"), program("./a", version="v2")])
    assert sorted(len(each) for each in made.values()) == [1, 2]


def test_build_tags_make_another_program_and_none_leave_its_key_as_it_was() -> None:
    plain = Program(module="m", version="v1")
    assert Program(module="m", version="v1", tags=("generic",)).key != plain.key
    assert "tags" not in plain.model_dump()


def test_what_a_module_carries_can_be_written_and_its_scripts_be_run(tmp_path: Path) -> None:
    carried = tmp_path / "cache"
    (carried / "lib").mkdir(parents=True)
    for name, content in {"lib/node.h": b"#include", "install.sh": b"#!/bin/sh\n", "lib/empty": b""}.items():
        (carried / name).write_bytes(content)
        (carried / name).chmod(0o444)
    (carried / "lib").chmod(0o555)
    copy_out(carried, tmp_path / "root")
    copy_out(carried / "install.sh", tmp_path / "alone.sh")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("root/**/*")}
    assert modes == {"lib": 0o755, "node.h": 0o644, "install.sh": 0o755, "empty": 0o644}
    assert (tmp_path / "alone.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "root" / "lib" / "node.h").read_bytes() == b"#include"
