"""Bring a machine to the state that one document describes, and take it back again.

One file of the standard library (Python 3.9 or newer), because it runs in two places: as an Ansible module on machines
that are pushed, and from cloud-init's user-data on machines that join by themselves, where nothing else is there yet.
One document instead of forty tasks, because each task of a play costs the controller more than this costs the machine.

The document is an object; every key is optional and they are applied in this order:

    address         the node's address; the fact of that name. Else the one that packets leave from by default
    directories     [{path, mode}]
    files           [{path, content, mode, facts?}]          `facts`: names whose `{name}` in the content is replaced
    artifacts       [{url, sha256, path, mode, member?}]     `member`: the one file of the tar at `url` that is meant
    archives        [{url, sha256, into, creates}]           tar files
    kernel_modules  [name]
    sysctls         {key: value or {"at_least": number}}
    units           [{name, enabled?, state?, restart_on?}]  systemd; state: started, stopped; restart_on: [path]
    images          [{url, sha256, name}]                    imported into containerd for Kubernetes

`url` is http(s):// or an absolute path. `unless_exists: [path]` skips a file, artifact or archive where one of these is
there, as the machine's own program; `if_exists: [path]` skips it where none is. What differs is made so, nothing else;
every step can be killed and repeated. A checksum that does not hold refuses before anything is put into place. What was
there before is kept, so that `undo` can give it back.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Optional

STATE_DIR = "/var/lib/caravan"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 1 << 20
FETCH_TIMEOUT_S = 60  # without a byte
FETCH_ATTEMPTS = 3
COMMAND_TIMEOUT_S = 300  # importing a large image from a slow disk
IN_CONTAINERS = ("/run/systemd/container", "/.dockerenv")
CAP_SYS_RESOURCE = 24  # linux/capability.h: who lacks it cannot make a process less likely to be killed
EVIDENCE = {"br_netfilter": "/proc/sys/net/bridge", "overlay": "/sys/module/overlay"}
"""What only exists while a module is at work, for kernels that list neither loaded nor built-in ones."""


class Refused(Exception):
    """The state cannot be reached; the message is a sentence that names the file, unit or key."""


# --- decisions: pure ---


@dataclass(frozen=True)
class UnitSeen:
    """What systemd says of a unit."""

    load: str
    enabled: str
    active: str
    stale: bool
    """Its files changed since systemd read them."""

    @property
    def running(self) -> bool:
        """It runs, or is about to."""
        return self.active in ("active", "activating", "reloading")


def unit_verbs(unit: Mapping[str, Any], seen: UnitSeen, *, started_with: str | None, files_now: str) -> list[str]:
    """The systemctl verbs that are missing, in order.

    Compared is what the unit's files were when it was last started from here, so that a change that was made and not
    acted on (the process was killed between) still leads to a restart.
    """
    verbs = []
    if unit.get("enabled") is not None and unit["enabled"] != (seen.enabled in ("enabled", "static", "alias")):
        verbs.append("enable" if unit["enabled"] else "disable")
    if unit.get("state") == "stopped":
        verbs += ["stop"] if seen.running else []
    elif seen.running and unit.get("restart_on") and started_with != files_now:
        verbs.append("restart")
    elif unit.get("state") == "started" and not seen.running:
        verbs.append("start")
    return verbs


def sysctl_holds(wanted: Any, seen: str) -> bool:
    """Whether the value is as wanted; the kernel separates numbers by tabs."""
    if isinstance(wanted, Mapping):
        return int(seen) >= int(wanted["at_least"])
    return seen.split() == str(wanted).split()


def sysctl_text(wanted: Any) -> str:
    """What to write for a wanted value."""
    return str(wanted["at_least"] if isinstance(wanted, Mapping) else wanted)


def filled(content: str, names: Sequence[str], fact: Callable[[str], str]) -> str:
    """The content with `{name}` replaced for each of the names, and no other brace touched."""
    for name in names:
        content = content.replace("{" + name + "}", fact(name))
    return content


def member_path(into: str, name: str) -> str:
    """Where a member of an archive belongs. Raises Refused for one that would land elsewhere."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if name.startswith("/") or ".." in parts:
        raise Refused(f"the archive has a member outside of its directory: {name}")
    return str(PurePosixPath(into, *parts))


# --- effects ---


@dataclass
class Record:
    """What was made here, kept on the machine. Saved before each act, so that it never knows too little."""

    path: Path
    made: dict[str, str] = field(default_factory=dict)
    """Path → where its original is kept, or "" where there was none. Directories end with a slash."""
    archives: dict[str, str] = field(default_factory=dict)
    """Path that came out of an archive → the archive's checksum."""
    images: dict[str, str] = field(default_factory=dict)
    """Name → checksum of the archive that it was imported from."""
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Unit → how it was first seen (enabled, running), and its files when it was last started (files)."""
    sysctls: dict[str, str] = field(default_factory=dict)
    """Key → its value before."""

    @classmethod
    def load(cls, path: Path) -> Record:
        """The record of an earlier run; an empty one where there was none."""
        return cls(path, **json.loads(path.read_text())) if path.exists() else cls(path)

    def save(self) -> None:
        """Write it, whole or not at all."""
        content = {name: value for name, value in vars(self).items() if name != "path"}
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1))
        new.replace(self.path)


class Host:
    """The machine. `root` stands before every path of the document, so that tests need no machine."""

    def __init__(self, root: str = "/", address: str = "") -> None:
        self.root, self._address = Path(root), address
        self.record = Record.load(self.at(f"{STATE_DIR}/record.json"))

    def at(self, path: str) -> Path:
        """Where a path of the document really is."""
        return self.root / path.lstrip("/")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second run away: user-data's and a play's may meet."""
        self.at(STATE_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.at(f"{STATE_DIR}/lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.record = Record.load(self.record.path)
            yield

    def run(self, *command: str, check: bool = True, given: str = "") -> str:
        """What the command prints, `given` as its input. Raises Refused where it fails or is not there."""
        environment = {**os.environ, "PATH": f"{SEARCH_PATH}:{os.environ.get('PATH', '')}", "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603
                command,
                input=given,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                env=environment,
                check=False,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            if not check:
                return ""
            raise Refused(f"{' '.join(command)}: {error}") from error
        if check and done.returncode:
            raise Refused(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def fact(self, name: str) -> str:
        """One of the facts that a file's content may use. Raises Refused for a name that is none."""
        if name == "address":
            return self._address or self._source_address()
        if name == "interface":
            return self._interface_with(self.fact("address"))
        if name == "cgroup_driver":  # systemd manages v2 for everybody; on v1 two managers would disagree
            return "systemd" if self.cgroup_v2() else "cgroupfs"
        if name == "systemd_cgroup":
            return json.dumps(self.cgroup_v2())
        if name == "restrict_oom_score_adj":
            return json.dumps(not self._has_capability(CAP_SYS_RESOURCE))
        raise Refused(f"there is no fact {name!r}")

    def cgroup_v2(self) -> bool:
        """Whether the unified hierarchy is the only one."""
        return self.at("/sys/fs/cgroup/cgroup.controllers").exists()

    def in_container(self) -> bool:
        """Whether this machine is a container."""
        return any(self.at(path).exists() for path in IN_CONTAINERS)

    def keep(self, path: str) -> None:
        """Note that this path is about to be ours, and put aside what is there; once."""
        if path in self.record.made:
            return
        original = ""
        if os.path.lexists(self.at(path)) and not path.endswith("/"):
            original = f"{STATE_DIR}/originals/{path.strip('/').replace('/', '%')}"
            self.at(original).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(self.at(path), self.at(original), follow_symlinks=False)
        elif path.endswith("/") and self.at(path).is_dir():
            return
        self.record.made[path] = original
        self.record.save()

    def unpacked(self, path: str, digest: str) -> None:
        """Note which archive this path came out of."""
        self.record.archives[path] = digest
        self.record.save()

    def make_parents(self, path: str) -> None:
        """Make the directories above a path."""
        for parent in reversed(PurePosixPath(path).parents):
            if not self.at(str(parent)).is_dir():
                self.keep(f"{parent}/")
                self.at(str(parent)).mkdir(mode=0o755)

    def place(self, new: Path, path: str, mode: int) -> None:
        """Move a finished file to where it belongs; readers see the old or the new one whole."""
        self.keep(path)
        new.chmod(mode)
        try:
            new.replace(self.at(path))
        except OSError as error:
            if error.errno != errno.EBUSY:  # a mount point, as /etc/resolv.conf is in a container
                raise
            self.at(path).write_bytes(new.read_bytes())
            self.at(path).chmod(mode)

    @contextlib.contextmanager
    def partial(self, path: str) -> Iterator[Path]:
        """A name beside the path to write to; gone afterwards, whatever happens."""
        self.make_parents(path)
        new = self.at(path).with_name(f".{PurePosixPath(path).name}.partial")
        try:
            new.unlink(missing_ok=True)
            yield new
        finally:
            new.unlink(missing_ok=True)

    def _source_address(self) -> str:
        for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # RFC 5737, 3849
            with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
                probe.connect((elsewhere, 9))  # sends nothing
                return str(probe.getsockname()[0])
        raise Refused("the node's address is not given and there is no default route to tell it")

    def _interface_with(self, address: str) -> str:
        """The interface that has this address; iproute2 lists some that do not as empty objects."""
        links = json.loads(self.run("ip", "-json", "address", "show", "to", address) or "[]")
        names = [link["ifname"] for link in links if "ifname" in link]
        if not names:
            raise Refused(f"no interface has the address {address}")
        return str(names[0])

    def _has_capability(self, number: int) -> bool:
        status = self.at("/proc/self/status").read_text()
        (bounding,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")]
        whole = self.at("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
        return whole and bool(int(bounding, 16) >> number & 1)


@dataclass(frozen=True)
class Change:
    """Something that differs from the document, and what makes it so."""

    what: str
    make: Callable[[], None]


def digest_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text; "" where there is none."""
    if path.is_symlink() or not path.is_file():
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _mode(item: Mapping[str, Any], default: str) -> int:
    return int(str(item.get("mode", default)), 8)


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _directory(host: Host, item: Mapping[str, Any]) -> Change | None:
    path, mode = item["path"], _mode(item, "0755")
    target = host.at(path)
    if target.is_dir() and _mode_of(target) == mode:
        return None

    def make() -> None:
        host.make_parents(f"{path}/x")
        target.chmod(mode)

    return Change(f"directory {path}", make)


def _file(host: Host, item: Mapping[str, Any]) -> Change | None:
    path, mode = item["path"], _mode(item, "0644")
    content = filled(item["content"], item.get("facts", ()), host.fact).encode()
    target = host.at(path)
    if digest_of(target) == hashlib.sha256(content).hexdigest() and _mode_of(target) == mode:
        return None

    def make() -> None:
        with host.partial(path) as new:
            new.touch(mode=0o600)
            new.write_bytes(content)
            host.place(new, path, mode)

    return Change(f"file {path}", make)


def _artifact(host: Host, item: Mapping[str, Any]) -> Change | None:
    path, mode, digest = item["path"], _mode(item, "0755"), item["sha256"]
    if "member" in item:
        return _packed_artifact(host, item, path, mode)
    if digest and digest_of(host.at(path)) == digest and _mode_of(host.at(path)) == mode:
        return None

    def make() -> None:
        with host.partial(path) as new:
            fetch(item["url"], digest, new)
            host.place(new, path, mode)

    return Change(f"artifact {path}", make)


def _packed_artifact(host: Host, item: Mapping[str, Any], path: str, mode: int) -> Change | None:
    if _is_unpacked(host, path, item["sha256"]):
        return None

    def make() -> None:
        with _fetched_tar(host, item) as archive, host.partial(path) as new:
            try:
                member = archive.getmember(item["member"])
            except KeyError as error:
                raise Refused(f"{item['url']} does not contain {item['member']}") from error
            _extract(archive, member, new)
            host.place(new, path, mode)
        host.unpacked(path, item["sha256"])

    return Change(f"artifact {path}", make)


def _archive(host: Host, item: Mapping[str, Any]) -> Change | None:
    creates = item["creates"]
    if _is_unpacked(host, creates, item["sha256"]):
        return None

    def make() -> None:
        with _fetched_tar(host, item) as archive:
            for member in archive:
                _unpack(host, archive, member, item["into"])
        if not host.at(creates).exists():
            raise Refused(f"{item['url']} does not contain {creates}")
        host.unpacked(creates, item["sha256"])

    return Change(f"archive {creates}", make)


def _is_unpacked(host: Host, path: str, digest: str) -> bool:
    return host.at(path).exists() and host.record.archives.get(path) == digest


@contextlib.contextmanager
def _fetched_tar(host: Host, item: Mapping[str, Any]) -> Iterator[tarfile.TarFile]:
    with host.partial(f"{STATE_DIR}/archive") as new:
        fetch(item["url"], item["sha256"], new)
        with tarfile.open(new) as archive:
            yield archive


def _unpack(host: Host, archive: tarfile.TarFile, member: tarfile.TarInfo, into: str) -> None:
    path = member_path(into, member.name)
    if member.isdir():
        host.make_parents(f"{path}/x")
        return
    with host.partial(path) as new:
        if member.issym():
            member_path(into, str(PurePosixPath(member.name).parent / member.linkname))
            host.keep(path)
            new.symlink_to(member.linkname)
            new.replace(host.at(path))
        else:
            _extract(archive, member, new)
            host.place(new, path, member.mode & 0o755)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    content = archive.extractfile(member) if member.isfile() else None
    if content is None:
        raise Refused(f"the archive has a member that is neither file, directory nor link: {member.name}")
    with content, to.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK)


def _kernel_module(host: Host, name: str) -> Change | None:
    if module_works(host, name):
        return None
    return Change(f"kernel module {name}", lambda: _load_module(host, name))


def module_works(host: Host, name: str) -> bool:
    """Whether the kernel has this module, loaded or built in."""
    if host.at(f"/sys/module/{name.replace('-', '_')}").exists() or host.at(EVIDENCE.get(name, "/nowhere")).exists():
        return True
    built_in = host.at(f"/lib/modules/{os.uname().release}/modules.builtin")
    return built_in.exists() and f"/{name}.ko" in built_in.read_text()


def _load_module(host: Host, name: str) -> None:
    host.run("modprobe", name)


def _sysctl(host: Host, item: tuple[str, Any]) -> Change | None:
    key, wanted = item
    path = host.at(f"/proc/sys/{key if '/' in key else key.replace('.', '/')}")
    seen = path.read_text().strip() if path.exists() else ""
    if seen and sysctl_holds(wanted, seen):
        return None

    def make() -> None:
        if not isinstance(wanted, Mapping):  # a limit that was raised may serve others by the time of undo
            host.record.sysctls.setdefault(key, seen)
            host.record.save()
        path.write_text(sysctl_text(wanted))

    return Change(f"sysctl {key}", make)


def _unit(host: Host, item: Mapping[str, Any]) -> Change | None:
    name, files = item["name"], item.get("restart_on", ())
    seen, signature = see_unit(host, name), _signature(host, files)
    known = host.record.units.get(name, {})
    verbs = unit_verbs(item, seen, started_with=known.get("files"), files_now=signature)
    if not verbs and not seen.stale:
        return None

    def make() -> None:
        host.record.units.setdefault(name, {"enabled": seen.enabled == "enabled", "running": seen.running})
        host.record.save()
        if seen.stale or seen.load != "loaded":
            host.run("systemctl", "daemon-reload")
        for verb in verbs:
            _systemctl(host, verb, name)
        host.record.units[name]["files"] = signature  # also where it is started later, by kubeadm
        host.record.save()

    return Change(f"unit {name} ({', '.join(verbs) or 'reload'})", make)


def see_unit(host: Host, name: str) -> UnitSeen:
    """Ask systemd about a unit; one that it does not know is not loaded, not enabled and not running."""
    properties = ("LoadState", "UnitFileState", "ActiveState", "NeedDaemonReload")
    told = host.run("systemctl", "show", f"--property={','.join(properties)}", name, check=False)
    said = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    load, enabled, active, stale = (said.get(one, "") for one in properties)
    return UnitSeen(load, enabled, active, stale == "yes")


def _systemctl(host: Host, verb: str, name: str) -> None:
    try:
        host.run("systemctl", verb, name)
    except Refused as refused:
        journal = host.run(
            "journalctl", "--no-pager", "--quiet", "--lines=8", "--output=cat", f"--unit={name}", check=False
        )
        raise Refused(f"{refused}; the unit's last words: {journal.strip()}") from refused


def _signature(host: Host, paths: Sequence[str]) -> str:
    """Changes whenever one of these files does. Size and time only: a binary is among them."""
    seen = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = host.at(path).stat()
            seen.append(f"{path}:{status.st_size}:{status.st_mtime_ns}")
    return ";".join(seen)


def _image(host: Host, item: Mapping[str, Any]) -> Change | None:
    name, digest = item["name"], item["sha256"]
    if host.record.images.get(name) == digest and name in images(host):
        return None

    def make() -> None:
        url = item["url"]
        if url.startswith("/"):
            verify(url, digest, digest_of(Path(url)))
            host.run("ctr", "--namespace=k8s.io", "images", "import", url)
        else:
            with host.partial(f"{STATE_DIR}/image") as new:
                fetch(url, digest, new)
                host.run("ctr", "--namespace=k8s.io", "images", "import", str(new))
        if name not in images(host):
            raise Refused(f"{url} holds no image called {name}")
        host.record.images[name] = digest
        host.record.save()

    return Change(f"image {name}", make)


def images(host: Host) -> set[str]:
    """Names of the images that containerd has for Kubernetes; none while it does not run."""
    return set(host.run("ctr", "--namespace=k8s.io", "images", "list", "--quiet", check=False).split())


def verify(url: str, expected: str, found: str) -> None:
    """Raise Refused unless the sums agree."""
    if not expected:
        raise Refused(f"{url}: no checksum is known, so it is not used")
    if not found:
        raise Refused(f"{url}: there is no such file")
    if found != expected:
        raise Refused(f"{url}: its SHA-256 is {found}, but {expected} is expected; it is not used")


def fetch(url: str, expected: str, to: Path) -> None:
    """Bring a file here and verify it. Raises Refused; `to` is then not to be used."""
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        try:
            found = _stream(url, to)
            break
        except (OSError, http.client.HTTPException) as error:
            if attempt == FETCH_ATTEMPTS or not _may_pass(error):
                raise Refused(f"{url} cannot be had: {error}") from error
            time.sleep(attempt)
    verify(url, expected, found)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.TOO_MANY_REQUESTS
    return not isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError))


def _stream(url: str, to: Path) -> str:
    digest = hashlib.sha256()
    with _open(url) as source, to.open("wb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _open(url: str) -> Any:
    if url.startswith("/"):
        return Path(url).open("rb")
    if not url.startswith(("http://", "https://")):
        raise Refused(f"{url} is neither an http(s) address nor an absolute path")
    return urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S)  # noqa: S310


# --- the two things to do with a document ---

Plan = Callable[[Host, Any], Optional[Change]]
STEPS: tuple[tuple[str, Plan], ...] = (
    ("directories", _directory),
    ("files", _file),
    ("artifacts", _artifact),
    ("archives", _archive),
    ("kernel_modules", _kernel_module),
    ("sysctls", _sysctl),
    ("units", _unit),
    ("images", _image),
)


def apply(document: Mapping[str, Any], host: Host, *, check: bool = False) -> list[str]:
    """Make the machine as the document says; what was changed (with `check`: what would be). Raises Refused."""
    if unknown := set(document) - {"address", *(key for key, _ in STEPS)}:
        raise Refused(f"the document has keys that nobody knows: {', '.join(sorted(unknown))}")
    with contextlib.nullcontext() if check else host.alone():
        return [change.what for change in _changes(document, host, check=check)]


def _changes(document: Mapping[str, Any], host: Host, *, check: bool) -> Iterator[Change]:
    for key, plan in STEPS:
        wanted = document.get(key) or ()
        for item in wanted.items() if isinstance(wanted, Mapping) else wanted:
            if isinstance(item, Mapping) and not _concerns(host, item):
                continue
            change = plan(host, item)
            if change is None:
                continue
            if not check:
                try:
                    change.make()
                except OSError as error:
                    raise Refused(f"{change.what}: {error}") from error
            yield change


def _concerns(host: Host, item: Mapping[str, Any]) -> bool:
    if any(host.at(path).exists() for path in item.get("unless_exists", ())):
        return False
    return "if_exists" not in item or any(host.at(path).exists() for path in item["if_exists"])


def undo(host: Host, *, check: bool = False) -> list[str]:
    """Take back all that was ever applied here; what was there before is there again. Kernel modules stay loaded."""
    if not host.record.path.exists():
        return []
    record = host.record
    undone = [*(f"image {name}" for name in record.images), *(f"unit {name}" for name in record.units)]
    undone += [*(f"file {path}" for path in record.made), *(f"sysctl {key}" for key in record.sysctls)]
    if check:
        return undone
    with host.alone():
        if host.record.images:
            _remove_images(host)
        _give_back_units(host)
        for key, value in host.record.sysctls.items():
            path = host.at(f"/proc/sys/{key if '/' in key else key.replace('.', '/')}")
            if value and path.exists():
                path.write_text(value)
        shutil.rmtree(host.at(STATE_DIR))
    return undone


def _remove_images(host: Host) -> None:
    left = images(host) - set(host.record.images)
    nameless = {name for name in left if name.startswith("sha256:")}  # containerd's own second names of ours
    for name in (*host.record.images, *(nameless if nameless == left else ())):
        host.run("ctr", "--namespace=k8s.io", "images", "remove", name, check=False)


def _give_back_units(host: Host) -> None:
    before = host.record.units
    for name, first in before.items():
        if not first["running"]:
            host.run("systemctl", "stop", name, check=False)
        if not first["enabled"]:
            host.run("systemctl", "disable", name, check=False)
    _give_back_files(host)
    if before:
        host.run("systemctl", "daemon-reload")
    for name, first in before.items():
        if first["running"]:
            _systemctl(host, "restart", name)


def _give_back_files(host: Host) -> None:
    made = host.record.made
    for path, original in made.items():
        if original and os.path.lexists(host.at(original)):
            _move_back(host.at(original), host.at(path))
        elif not path.endswith("/"):
            host.at(path).unlink(missing_ok=True)
    for path in sorted((one for one in made if one.endswith("/")), key=len, reverse=True):
        with contextlib.suppress(OSError):  # others keep things in it, or took it away
            host.at(path).rmdir()


def _move_back(original: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.move(str(original), str(path))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        path.write_bytes(original.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """`node_state.py DOCUMENT [--check]`: what changed goes to standard output as JSON, a refusal to standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("document", type=Path, help="JSON file")
    parser.add_argument("--check", action="store_true", help="say what would change and touch nothing")
    given = parser.parse_args(arguments)
    document = json.loads(given.document.read_text())
    try:
        changed = apply(document, Host(address=document.get("address", "")), check=given.check)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    print(json.dumps({"changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
