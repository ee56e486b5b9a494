"""Each role's files, from upstream or a mirror, with the sums that hold there; what is missing is named."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan_bootstrapper.artifacts import Artifacts, ArtifactsIncomplete, parse_sums
from caravan_bootstrapper.settings import Settings
from caravan_shared.contracts.spec import Cni, Network, Role

PLAYBOOKS: Path = Settings.model_fields["playbooks_dir"].default
EVERY = ["control-plane", "worker"]
FILES: list[dict[str, Any]] = [
    {
        "name": "kubelet",
        "kind": "binary",
        "path": "kubernetes/{version}/kubelet",
        "url": "https://dl.k8s.io/{version}/kubelet",
        "sha256": {"1.34.2": "aa"},
        "roles": EVERY,
        "source": {"programs": []},
    },
    {
        "name": "etcdctl",
        "kind": "binary",
        "path": "etcd/etcdctl",
        "url": "https://github.com/etcd.tar.gz",
        "sha256": "bb",
        "member": "etcd/etcdctl",
        "roles": ["etcd"],
    },
    {
        "name": "cni-plugins",
        "kind": "archive",
        "path": "cni.tgz",
        "url": "https://github.com/cni.tgz",
        "sha256": "cc",
        "into": "/opt/cni/bin",
        "creates": "/opt/cni/bin/bridge",
        "roles": EVERY,
        "not_from_source": "no compiler",
    },
    {"name": "registry.k8s.io/pause:3.10", "kind": "image", "path": "p.tar", "image": "registry.k8s.io/pause:3.10"},
    {"name": "flannel:{version}", "kind": "image", "path": "f.tar", "image": "flannel:{version}", "cni": "flannel"},
    {"name": "x/kube-vip:1", "kind": "image", "path": "v.tar", "image": "x/kube-vip:1", "virtual_ip": True},
    {"name": "cilium", "kind": "chart", "path": "c.tgz", "url": "https://helm/c.tgz", "sha256": "dd", "cni": "cilium"},
]
SUMS = {"kubernetes/v1.34.2/kubelet": "1", "etcd/etcdctl": "2", "p.tar": "3", "f.tar": "4", "c.tgz": "5"}


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """A directory with a small catalogue."""
    (tmp_path / "artifacts").mkdir()
    catalogue = {"minor": "1.34", "patches": ["1.34.2"], "files": [{"roles": EVERY, **file} for file in FILES]}
    (tmp_path / "artifacts" / "v1.34.yml").write_text(yaml.safe_dump(catalogue))
    return tmp_path


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror's directory."""
    made = tmp_path / "mirror"
    made.mkdir()
    fill(made, SUMS)
    return made


def fill(mirror: Path, sums: dict[str, str]) -> None:
    (mirror / "SHA256SUMS").write_text("".join(f"{digest}  {path}\n" for path, digest in sums.items()))


async def test_mirror_gives_files_and_sums(playbooks: Path, mirror: Path) -> None:
    found = await Artifacts(playbooks, f"{mirror}/").for_roles("1.34.2", Network(cni=Cni.FLANNEL))
    assert found["worker"] == {
        "pause": "registry.k8s.io/pause:3.10",
        "kube_vip": "",
        "binaries": [
            {
                "name": "kubelet",
                "url": f"{mirror}/kubernetes/v1.34.2/kubelet",
                "sha256": "1",
                "path": "/usr/local/bin/kubelet",
            }
        ],
        "archives": [],
        "images": [
            {"name": "registry.k8s.io/pause:3.10", "url": f"{mirror}/p.tar", "sha256": "3"},
            {"name": "flannel:v1.34.2", "url": f"{mirror}/f.tar", "sha256": "4"},
        ],
        "charts": [],
    }
    assert found["etcd"]["binaries"] == [
        {"name": "etcdctl", "url": f"{mirror}/etcd/etcdctl", "sha256": "2", "path": "/usr/local/bin/etcdctl"}
    ]
    assert found.keys() == {role.value for role in Role}


async def test_upstream_gives_published_files_and_leaves_images_to_the_runtime(playbooks: Path) -> None:
    found = await Artifacts(playbooks, "").for_roles("1.34.2", Network(cni=Cni.CILIUM))
    worker = found["worker"]
    assert (worker["images"], worker["pause"]) == ([], "registry.k8s.io/pause:3.10")
    assert (worker["binaries"][0]["url"], worker["binaries"][0]["sha256"]) == (
        "https://dl.k8s.io/v1.34.2/kubelet",
        "aa",
    )
    assert (worker["archives"][0]["into"], worker["archives"][0]["creates"]) == ("/opt/cni/bin", "/opt/cni/bin/bridge")
    assert worker["charts"] == [{"name": "cilium", "url": "https://helm/c.tgz", "sha256": "dd"}]
    assert found["etcd"]["binaries"][0]["member"] == "etcd/etcdctl"


async def test_what_a_mirror_lacks_is_named(playbooks: Path, mirror: Path) -> None:
    fill(mirror, {"p.tar": "3"})
    with pytest.raises(ArtifactsIncomplete) as raised:
        await Artifacts(playbooks, str(mirror)).for_roles("1.34.2", Network(cni=Cni.FLANNEL))
    missing = "kubernetes/v1.34.2/kubelet, etcd/etcdctl, f.tar"
    assert str(raised.value) == f"the artifact mirror {mirror} lacks {missing}: fill it with `make artifacts`"
    fill(mirror, {})
    with pytest.raises(ArtifactsIncomplete, match=r"etcd/etcdctl, p\.tar and 1 more: fill"):
        await Artifacts(playbooks, str(mirror)).for_roles("1.34.2", Network(cni=Cni.FLANNEL))


async def test_mirror_that_is_no_mirror_is_named(playbooks: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactsIncomplete, match="nowhere has no SHA256SUMS"):
        await Artifacts(playbooks, str(tmp_path / "nowhere")).for_roles("1.34.2", Network(cni=Cni.NONE))


async def test_version_without_catalogue_or_listing_is_named(playbooks: Path) -> None:
    with pytest.raises(ArtifactsIncomplete, match=r"no catalogue of files for Kubernetes 1\.99\.0"):
        await Artifacts(playbooks, "").for_roles("1.99.0", Network(cni=Cni.NONE))
    with pytest.raises(ArtifactsIncomplete, match=r"does not list 1\.34\.9, only 1\.34\.2"):
        await Artifacts(playbooks, "").for_roles("1.34.9", Network(cni=Cni.NONE))


async def test_file_without_published_sum_is_named(playbooks: Path) -> None:
    path = playbooks / "artifacts" / "v1.34.yml"
    path.write_text(path.read_text().replace("1.34.2: aa", "1.34.2: null"))
    with pytest.raises(ArtifactsIncomplete, match=r"no checksum is known of kubernetes/v1\.34\.2/kubelet"):
        await Artifacts(playbooks, "").for_roles("1.34.2", Network(cni=Cni.NONE))


async def test_broken_catalogue_is_named(playbooks: Path) -> None:
    (playbooks / "artifacts" / "v1.34.yml").write_text("patches: [1.34.2]\nfiles: [{name: x}]\n")
    with pytest.raises(ArtifactsIncomplete, match=r"v1\.34\.yml cannot be read"):
        await Artifacts(playbooks, "").for_roles("1.34.2", Network(cni=Cni.NONE))


async def test_refilled_mirror_is_read_again(playbooks: Path, mirror: Path) -> None:
    artifacts = Artifacts(playbooks, str(mirror))
    first = await artifacts.for_roles("1.34.2", Network(cni=Cni.NONE))
    fill(mirror, {**SUMS, "p.tar": "9"})
    os.utime(mirror / "SHA256SUMS", ns=(0, 0))
    second = await artifacts.for_roles("1.34.2", Network(cni=Cni.NONE))
    assert [each["worker"]["images"][0]["sha256"] for each in (first, second)] == ["3", "9"]


def test_sums_are_read_as_sha256sum_writes_them() -> None:
    assert parse_sums("aa  ./a b\nbb *c\n\n") == {"a b": "aa", "c": "bb"}


@pytest.mark.parametrize("path", sorted((PLAYBOOKS / "artifacts").glob("v*.yml")), ids=lambda path: path.stem)
async def test_released_catalogues_give_every_role_its_files(path: Path, tmp_path: Path) -> None:
    catalogue = yaml.load(path.read_text(), yaml.CSafeLoader)
    patch = str(catalogue["patches"][0])
    paths = [file["path"].replace("{version}", f"v{patch}") for file in catalogue["files"]]
    fill(tmp_path, dict.fromkeys(paths, "0"))
    found = await Artifacts(PLAYBOOKS, str(tmp_path)).for_roles(patch, Network(cni=Cni.FLANNEL))
    programs = {role: {file["name"] for file in found[role]["binaries"]} for role in found}
    assert {"kubeadm", "kubelet"} <= programs["worker"] < programs["control-plane"]
    assert {"etcd", "etcdctl"} <= programs["etcd"]
    assert all(found[role]["pause"] in [i["name"] for i in found[role]["images"]] for role in EVERY)


async def test_only_a_cluster_with_a_virtual_ip_needs_what_carries_it(playbooks: Path, mirror: Path) -> None:
    artifacts = Artifacts(playbooks, str(mirror))
    without = await artifacts.for_roles("1.34.2", Network(cni=Cni.NONE))
    assert without["control-plane"]["kube_vip"] == ""
    wanted = Network(cni=Cni.NONE, virtual_ip=ip_address("10.0.0.250"))
    with pytest.raises(ArtifactsIncomplete, match=r"v\.tar"):
        await artifacts.for_roles("1.34.2", wanted)
    fill(mirror, {**SUMS, "v.tar": "6"})
    found = (await artifacts.for_roles("1.34.2", wanted))["control-plane"]
    assert found["kube_vip"] == "x/kube-vip:1"
    assert [image["name"] for image in found["images"]] == ["registry.k8s.io/pause:3.10", "x/kube-vip:1"]
