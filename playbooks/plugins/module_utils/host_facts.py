"""See what a machine is, for host_check to judge. Changes nothing; takes milliseconds where the mirror answers.

In a container the machine's own limits count (its cgroup's memory and CPU time), and what its host has loaded is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.host_check import COMMANDS, MODULES, RUNTIME, Seen, Wanted
from ansible.module_utils.node_state import SEARCH_PATH, STATE_DIR, Host, module_works

MIB = 1 << 20
MIRROR_TIMEOUT_S = 5
DISCARD_PORT = 9  # RFC 863
NEIGHBOUR_WITHIN_S = 4  # the kernel asks three times, a second apart
LOOK_EVERY_S = 0.1
SILENT = {"INCOMPLETE", "FAILED"}  # states of a neighbour that has not answered, as ip-neighbour(8) calls them
TCP_LISTEN = "0A"  # linux/tcp_states.h, as /proc/net/tcp writes it


def look(wanted: Wanted, controller_time: float, host: Host) -> Seen:
    """See all of it. `controller_time`: the controller's clock now, in seconds since 1970."""
    disk = shutil.disk_usage(host.at("/var/lib"))
    uname = os.uname()
    v2 = host.cgroup_v2()
    joined = host.at("/etc/kubernetes/kubelet.conf").exists()
    interface = virtual_ip_interface(host, wanted)
    return Seen(
        system=uname.sysname,
        machine=uname.machine,
        systemd=host.at("/run/systemd/system").is_dir(),
        root=os.geteuid() == 0,
        python=sys.version_info[:2],
        container=host.in_container(),
        ours=host.at(STATE_DIR).is_dir(),
        joined=joined,
        cpus=cpus(host),
        memory_mib=memory(host) // MIB,
        swaps=tuple(line.split()[0] for line in _text(host, "/proc/swaps").splitlines()[1:]),
        listeners=listeners(host, wanted.ports),
        hostname=uname.nodename,
        machine_id=_text(host, "/etc/machine-id").strip(),
        modules=frozenset(name for name in MODULES if module_works(host, name) or _loadable(host, name)),
        cgroups=cgroups(host, v2=v2),
        cgroup_v2=v2,
        skew_s=time.time() - controller_time,
        disk_free=disk.free,
        disk_size=disk.total,
        commands=frozenset(name for name in COMMANDS if _which(name)),
        has_address=has_address(wanted.address),
        resolved=host.at("/run/systemd/resolve").is_dir(),
        runtime=frozenset(name for name in RUNTIME if _which(name)),
        unreadable=unreadable(wanted.files),
        reaches_virtual_ip=interface != "",
        # Later it is the cluster's own control planes that answer.
        virtual_ip_owner=owner(host, wanted.virtual_ip, interface) if interface and wanted.first and not joined else "",
    )


def virtual_ip_interface(host: Host, wanted: Wanted) -> str | None:
    """The interface that has the node's address and reaches the virtual IP; "" where none does, None without one."""
    if not wanted.virtual_ip or has_address(wanted.virtual_ip):
        return None
    told = json.loads(host.run("ip", "-json", "route", "get", wanted.virtual_ip, check=False) or "[]")
    links = json.loads(host.run("ip", "-json", "address", "show", "to", wanted.address, check=False) or "[]")
    devices = {route["dev"] for route in told if "gateway" not in route}
    return next((link["ifname"] for link in links if link.get("ifname") in devices), "")


def owner(host: Host, address: str, interface: str) -> str:
    """Hardware address of the neighbour that answers for this address (ARP, or NDP); "" where nobody does."""
    there = ("to", address, "dev", interface)
    host.run("ip", "neighbour", "flush", *there, check=False)  # what was known may be old
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):  # nobody there
            probe.sendto(b"", (address, DISCARD_PORT))  # the kernel asks for the neighbour before it sends
        until = time.monotonic() + NEIGHBOUR_WITHIN_S
        while time.monotonic() < until:
            for entry in json.loads(host.run("ip", "-json", "neighbour", "show", *there, check=False) or "[]"):
                if "lladdr" in entry and not SILENT & set(entry["state"]):
                    return str(entry["lladdr"])
                if "FAILED" in entry["state"]:
                    return ""
            time.sleep(LOOK_EVERY_S)
    return ""


def cpus(host: Host) -> int:
    """Whole CPUs that this machine may use."""
    there = len(os.sched_getaffinity(0))
    quota, period = (_text(host, "/sys/fs/cgroup/cpu.max").split() or ["max", "100000"])[:2]
    if quota == "max":
        quota = _text(host, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip() or "-1"
        period = _text(host, "/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip() or "100000"
    return there if int(quota) < 0 else min(there, int(quota) // int(period))


def memory(host: Host) -> int:
    """Bytes that this machine may use."""
    (total,) = re.findall(r"^MemTotal:\s+(\d+) kB", _text(host, "/proc/meminfo"), re.MULTILINE)
    limits = [_text(host, f"/sys/fs/cgroup/{name}").strip() for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([int(total) * 1024, *(int(limit) for limit in limits if limit.isdigit())])


def cgroups(host: Host, *, v2: bool) -> frozenset[str]:
    """The cgroup controllers that can be used."""
    if v2:
        return frozenset(_text(host, "/sys/fs/cgroup/cgroup.controllers").split())
    rows = [line.split() for line in _text(host, "/proc/cgroups").splitlines() if not line.startswith("#")]
    mounted = {part for line in _text(host, "/proc/mounts").splitlines() for part in line.split()[3].split(",")}
    return frozenset(name for name, _, _, enabled in rows if enabled == "1" and name in mounted)


def listeners(host: Host, ports: Mapping[int, str]) -> dict[int, str]:
    """Which process listens on each of these ports; "another process" where /proc does not tell."""
    sockets = {}  # inode → port
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _text(host, table).splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == TCP_LISTEN and port in ports:
                sockets[fields[9]] = port
    found = dict.fromkeys(sockets.values(), "another process")
    for inode, process in _socket_owners(host) if sockets else ():
        if inode in sockets:
            found[sockets[inode]] = process
    return found


def has_address(address: str) -> bool:
    """Whether an interface has it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def unreadable(files: Sequence[str]) -> dict[str, str]:
    """File → why it cannot be had. Of a web server one file is tried: what counts is that it answers."""
    found = {file: "there is no such file" for file in files if file.startswith("/") and not Path(file).is_file()}
    servers = {urlsplit(file).netloc: file for file in files if not file.startswith("/")}
    for file in servers.values():
        request = urllib.request.Request(file, method="HEAD")  # noqa: S310
        try:
            urllib.request.urlopen(request, timeout=MIRROR_TIMEOUT_S).close()  # noqa: S310
        except (OSError, ValueError) as error:
            found[file] = str(error)
    return found


def _socket_owners(host: Host) -> Iterator[tuple[str, str]]:
    for link in host.at("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            target = os.readlink(link)
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1], Path(os.readlink(link.parent.parent / "exe")).name


def _loadable(host: Host, name: str) -> bool:
    listed = _text(host, f"/lib/modules/{os.uname().release}/modules.dep")
    return re.search(rf"/{re.escape(name)}\.ko\b", listed) is not None


def _which(name: str) -> bool:
    return shutil.which(name, path=f"{SEARCH_PATH}:{os.environ.get('PATH', '')}") is not None


def _text(host: Host, path: str) -> str:
    target = host.at(path)
    return target.read_text() if target.exists() else ""
