"""A document is made so on a machine, once; what does not hold is refused whole; all of it can be taken back."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine_modules import carried

node_state = carried("node_state")
Host, Refused, UnitSeen = node_state.Host, node_state.Refused, node_state.UnitSeen

RUNNING = UnitSeen("loaded", "enabled", "active", False)
STOPPED = UnitSeen("loaded", "disabled", "inactive", False)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An empty root file system."""
    root = tmp_path / "machine"
    root.mkdir()
    return root


def apply(machine: Path, *, check: bool = False, **document: Any) -> list[str]:
    return list(node_state.apply(document, Host(str(machine), "10.0.0.7"), check=check))


def contents(root: Path) -> dict[str, bytes]:
    """Path → content, all but what node_state keeps for itself."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and "var/lib/caravan" not in str(path))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def mirrored(folder: Path, name: str, content: bytes) -> dict[str, str]:
    """A file of a mirror, as a document names it."""
    path = folder / name
    path.write_bytes(content)
    return {"url": str(path), "sha256": hashlib.sha256(content).hexdigest()}


def tar_of(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def everything(folder: Path) -> dict[str, Any]:
    tar = mirrored(folder, "tools.tgz", tar_of(("./bin/a", b"a"), ("./bin/b", b"b")))
    return {
        "directories": [{"path": "/etc/deep/est", "mode": "0700"}],
        "files": [{"path": "/etc/deep/file", "content": "text", "mode": "0600"}],
        "artifacts": [
            {**mirrored(folder, "kubelet", b"binary"), "path": "/usr/local/bin/kubelet"},
            {**tar, "path": "/usr/local/bin/etcd", "member": "./bin/b"},
        ],
        "archives": [{**tar, "into": "/opt", "creates": "/opt/bin/a"}],
    }


def test_second_application_changes_nothing(machine: Path, tmp_path: Path) -> None:
    document = everything(tmp_path)
    changed = ["directory /etc/deep/est", "file /etc/deep/file", "artifact /usr/local/bin/kubelet"]
    changed += ["artifact /usr/local/bin/etcd", "archive /opt/bin/a"]
    assert apply(machine, **document) == changed
    assert apply(machine, **document) == []
    assert (machine / "usr/local/bin/etcd").read_bytes() == b"b"
    modes = {path: (machine / path).stat().st_mode & 0o777 for path in ("etc/deep/est", "etc/deep/file", "opt/bin/b")}
    assert modes == {"etc/deep/est": 0o700, "etc/deep/file": 0o600, "opt/bin/b": 0o755}


def test_check_tells_the_changes_and_touches_nothing(machine: Path, tmp_path: Path) -> None:
    document = everything(tmp_path)
    told = apply(machine, check=True, **document)
    assert not list(machine.iterdir())
    assert told == apply(machine, **document)


def test_what_somebody_altered_is_mended(machine: Path, tmp_path: Path) -> None:
    document = everything(tmp_path)
    apply(machine, **document)
    (machine / "usr/local/bin/kubelet").write_bytes(b"other")
    (machine / "etc/deep/file").chmod(0o644)
    assert apply(machine, **document) == ["file /etc/deep/file", "artifact /usr/local/bin/kubelet"]


def test_undo_gives_back_what_was_there(machine: Path, tmp_path: Path) -> None:
    for path, content in (("etc/deep/file", b"theirs"), ("opt/bin/a", b"their a"), ("opt/keep", b"k")):
        (machine / path).parent.mkdir(parents=True, exist_ok=True)
        (machine / path).write_bytes(content)
    (machine / "etc/link").symlink_to("deep/file")
    before = contents(machine)
    document = everything(tmp_path)
    document["files"].append({"path": "/etc/link", "content": "no link"})
    apply(machine, **document)
    assert contents(machine) != before
    host = Host(str(machine))
    told = node_state.undo(host, check=True)
    assert contents(machine) != before
    assert node_state.undo(host) == told != []
    assert contents(machine) == before
    assert (machine / "etc/link").is_symlink()
    assert not (machine / "var/lib/caravan").exists()
    assert not (machine / "usr").exists()
    assert node_state.undo(Host(str(machine))) == []


@pytest.mark.parametrize("kind", ["artifacts", "archives"])
def test_wrong_sum_names_file_and_sums_and_leaves_nothing(machine: Path, tmp_path: Path, kind: str) -> None:
    file = mirrored(tmp_path, "file.tgz", tar_of(("a", b"a")))
    wrong = {**file, "sha256": "0" * 64, "path": "/usr/bin/a", "into": "/usr/bin", "creates": "/usr/bin/a"}
    document: dict[str, Any] = {kind: [wrong]}
    with pytest.raises(Refused) as refused:
        apply(machine, **document)
    assert all(word in str(refused.value) for word in (file["url"], file["sha256"], "0" * 64))
    assert not contents(machine)


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"url": "/nowhere", "sha256": "0"}, "/nowhere cannot be had"),
        ({"url": "ftp://host/x", "sha256": "0"}, "neither an http"),
        ({"url": "/dev/null", "sha256": ""}, "no checksum is known"),
    ],
)
def test_file_that_cannot_be_had_is_named(machine: Path, item: dict[str, str], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        apply(machine, artifacts=[{**item, "path": "/x"}])


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_archive_member_outside_of_its_directory_is_refused(machine: Path, tmp_path: Path, name: str) -> None:
    file = mirrored(tmp_path, "evil.tgz", tar_of((name, b"x")))
    with pytest.raises(Refused, match="outside of its directory"):
        apply(machine, archives=[{**file, "into": "/opt/a", "creates": "/opt/a/x"}])


def test_archive_without_the_promised_file_is_refused(machine: Path, tmp_path: Path) -> None:
    file = mirrored(tmp_path, "a.tgz", tar_of(("a", b"a")))
    with pytest.raises(Refused, match="does not contain /opt/b"):
        apply(machine, archives=[{**file, "into": "/opt", "creates": "/opt/b"}])
    with pytest.raises(Refused, match="does not contain b"):
        apply(machine, artifacts=[{**file, "path": "/b", "member": "b"}])


def test_newer_archive_replaces_what_the_older_brought(machine: Path, tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        file = mirrored(tmp_path, "a.tgz", tar_of(("a", content)))
        assert apply(machine, archives=[{**file, "into": "/opt", "creates": "/opt/a"}]) == ["archive /opt/a"]
    assert (machine / "opt/a").read_bytes() == b"new"


def test_machines_own_program_is_kept(machine: Path, tmp_path: Path) -> None:
    own = machine / "usr/bin/runc"
    own.parent.mkdir(parents=True)
    own.touch()
    item = {**mirrored(tmp_path, "runc", b"ours"), "path": "/usr/local/bin/runc", "unless_exists": ["/usr/bin/runc"]}
    assert apply(machine, artifacts=[item]) == []


def test_what_is_for_some_machines_only_is_left_out_on_others(machine: Path) -> None:
    item = {"path": "/a", "content": "", "if_exists": ["/.dockerenv", "/run/systemd/container"]}
    assert apply(machine, files=[item]) == []
    (machine / ".dockerenv").touch()
    assert apply(machine, files=[item]) == ["file /a"]


def test_facts_are_filled_in_where_they_are_named_only(machine: Path) -> None:
    content = "a={address} b={other} c={{address}}"
    apply(machine, files=[{"path": "/a", "content": content, "facts": ["address"]}, {"path": "/b", "content": content}])
    assert (machine / "a").read_text() == "a=10.0.0.7 b={other} c={10.0.0.7}"
    assert (machine / "b").read_text() == content


@pytest.mark.parametrize(
    ("v2", "bounding", "expected"),
    [
        (True, "000001ffffffffff", ("systemd", "true", "false")),
        (False, "000001fffeffffff", ("cgroupfs", "false", "true")),
    ],
    ids=["machine", "container"],
)
def test_facts_of_machine_and_container(machine: Path, v2: bool, bounding: str, expected: tuple[str, ...]) -> None:
    for path, text in (("status", f"Name:\tx\nCapBnd:\t{bounding}\n"), ("uid_map", "0 0 4294967295\n")):
        (machine / "proc/self").mkdir(parents=True, exist_ok=True)
        (machine / "proc/self" / path).write_text(text)
    if v2:
        (machine / "sys/fs/cgroup").mkdir(parents=True)
        (machine / "sys/fs/cgroup/cgroup.controllers").touch()
    host = Host(str(machine))
    assert tuple(map(host.fact, ("cgroup_driver", "systemd_cgroup", "restrict_oom_score_adj"))) == expected
    with pytest.raises(Refused, match="no fact"):
        host.fact("mood")


def test_sysctls_are_raised_never_lowered(machine: Path) -> None:
    values = {
        "net/ipv4/ip_forward": "0",
        "fs/inotify/max_user_instances": "128",
        "fs/nr_open": "1000",
        "net/range": "1\t9",
    }
    for name, value in values.items():
        (machine / "proc/sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / "proc/sys" / name).write_text(value + "\n")
    wanted = {
        "net.ipv4.ip_forward": 1,
        "fs.inotify.max_user_instances": {"at_least": 512},
        "fs.nr_open": {"at_least": 10},
        "net/range": "1 9",
    }
    changed = ["sysctl net.ipv4.ip_forward", "sysctl fs.inotify.max_user_instances"]
    assert apply(machine, sysctls=wanted) == changed
    assert apply(machine, sysctls=wanted) == []
    node_state.undo(Host(str(machine)))
    assert (machine / "proc/sys/net/ipv4/ip_forward").read_text() == "0"
    assert (machine / "proc/sys/fs/inotify/max_user_instances").read_text() == "512"


def test_sysctl_that_the_kernel_lacks_is_named(machine: Path) -> None:
    with pytest.raises(Refused, match=r"sysctl no\.such"):
        apply(machine, sysctls={"no.such": 1})


def test_unknown_key_is_refused(machine: Path) -> None:
    with pytest.raises(Refused, match="nobody knows: file"):
        apply(machine, file=[])


@pytest.mark.parametrize(
    ("wanted", "seen", "started_with", "verbs"),
    [
        ({"enabled": True, "state": "started"}, STOPPED, None, ["enable", "start"]),
        ({"enabled": True, "state": "started"}, RUNNING, None, []),
        ({"state": "started", "restart_on": ["f"]}, RUNNING, "files", []),
        ({"state": "started", "restart_on": ["f"]}, RUNNING, "older files", ["restart"]),
        ({"state": "started", "restart_on": ["f"]}, RUNNING, None, ["restart"]),
        ({"restart_on": ["f"]}, STOPPED, None, []),
        ({"enabled": True, "restart_on": ["f"]}, RUNNING, "older files", ["restart"]),
        ({"enabled": False, "state": "stopped"}, RUNNING, None, ["disable", "stop"]),
        ({"state": "stopped"}, STOPPED, None, []),
    ],
)
def test_unit_gets_the_verbs_it_lacks(
    wanted: dict[str, Any], seen: Any, started_with: str | None, verbs: list[str]
) -> None:
    assert node_state.unit_verbs(wanted, seen, started_with=started_with, files_now="files") == verbs


def test_record_survives_between_runs(machine: Path, tmp_path: Path) -> None:
    apply(machine, **everything(tmp_path))
    record = json.loads((machine / "var/lib/caravan/record.json").read_text())
    assert record["made"]["/etc/deep/file"] == ""
    assert set(record["archives"]) == {"/usr/local/bin/etcd", "/opt/bin/a"}


def test_interface_is_the_one_that_has_the_nodes_address(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(address="10.0.0.7")
    monkeypatch.setattr(host, "run", lambda *command: {"10.0.0.7": '[{},{"ifname":"bond0"}]'}[command[-1]])
    assert host.fact("interface") == "bond0"
    monkeypatch.setattr(host, "run", lambda *_: "[{}]")
    with pytest.raises(Refused, match=r"no interface has the address 10\.0\.0\.7"):
        host.fact("interface")
