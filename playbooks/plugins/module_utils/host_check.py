"""Judge whether a machine can become a node: everything that is wrong, at once, and what to do about each.

Pure: what was seen comes from host_facts. In a container swap is its host's affair, and so is how full the disk is.

Figures: kubeadm's preflight checks and system validators, the kubelet's default eviction thresholds
(https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/), ports
(https://kubernetes.io/docs/reference/networking/ports-and-protocols/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 1 << 30
CPUS = {"control-plane": 2}  # kubeadm's own demand; others need one
MEMORY_MIB = {"control-plane": 1700}  # kubeadm's own demand
DISK_FREE_GIB = 5  # a node's images, logs and the pods' scratch space
DISK_FREE_SHARE = 0.15  # below it the kubelet evicts pods from the start (imagefs.available)
CLOCK_SKEW_S = 30  # certificates and tokens are valid from the minute they are made
MODULES = ("overlay", "br_netfilter")
CGROUPS_V1 = frozenset({"cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"})
CGROUPS_V2 = frozenset({"cpu", "cpuset", "memory", "pids"})  # devices and freezer are no controllers there
COMMANDS = ("conntrack", "cp", "ip", "iptables", "losetup", "modprobe", "mount", "nsenter", "socat")
"""What kubeadm, kubelet, kube-proxy and CNI plugins call."""
RUNTIME = ("containerd", "runc")
SPARE = "spare"
ETCD_PORTS = {2379: "etcd", 2380: "etcd"}
KUBELET_PORTS = {10250: "kubelet"}
CONTROL_PLANE_PORTS = {10257: "kube-controller-manager", 10259: "kube-scheduler"}


@dataclass(frozen=True)
class Wanted:
    """What the machine is to become."""

    role: str
    """control-plane, etcd, worker; or `spare`: nothing yet, and able to become any of them."""
    node: str
    address: str
    api_port: int
    own_etcd: bool
    """The control plane brings its etcd member."""
    resolvers: bool
    """systemd-resolved is to ask further DNS servers."""
    files: tuple[str, ...]
    """URLs or absolute paths that will be fetched."""
    brings: frozenset[str]
    """Those of `RUNTIME` that are among these files."""
    runs_pods: bool
    virtual_ip: str = ""
    """That one of the control planes will carry; empty for other nodes and where there is none."""
    first: bool = False
    """Nothing of the cluster runs before this control plane."""

    @property
    def ports(self) -> dict[int, str]:
        """Port → the process of ours that will listen there."""
        found = dict(KUBELET_PORTS) if self.runs_pods else {}
        if self.role in ("control-plane", SPARE):
            found |= {self.api_port: "kube-apiserver", **CONTROL_PLANE_PORTS}
        if self.role in ("etcd", SPARE) or (self.role == "control-plane" and self.own_etcd):
            found |= ETCD_PORTS
        return found


_AS_ASKED = ("role", "node", "address", "api_port", "own_etcd", "resolvers", "virtual_ip", "first")


def wanted_from(parameters: Mapping[str, Any]) -> Wanted:
    """What the module's parameters ask for; `artifacts` are those of the role. A spare gets them when it is claimed."""
    artifacts = parameters["artifacts"]
    files = {kind: artifacts.get(kind, ()) for kind in ("binaries", "archives", "images")}
    programs = {file["name"] for file in files["binaries"]}
    brought = programs | {file["creates"].rpartition("/")[2] for file in files["archives"]}
    return Wanted(
        **{name: parameters[name] for name in _AS_ASKED},
        files=tuple(file["url"] for several in files.values() for file in several),
        brings=frozenset(RUNTIME if parameters["role"] == SPARE else brought & set(RUNTIME)),
        runs_pods="kubelet" in programs or parameters["role"] == SPARE,
    )


@dataclass(frozen=True)
class Seen:
    """What the machine is."""

    system: str
    machine: str
    systemd: bool
    root: bool
    python: tuple[int, int]
    container: bool
    ours: bool
    """Caravan has worked on it before."""
    joined: bool
    """It is a node of some cluster."""
    cpus: int
    memory_mib: int
    swaps: tuple[str, ...]
    listeners: Mapping[int, str]
    """Port → the process that listens there."""
    hostname: str
    machine_id: str
    modules: frozenset[str]
    cgroups: frozenset[str]
    cgroup_v2: bool
    skew_s: float
    """How far its clock is ahead of the controller's."""
    disk_free: int
    """Bytes that /var/lib has left."""
    disk_size: int
    commands: frozenset[str]
    has_address: bool
    resolved: bool
    runtime: frozenset[str]
    """Those of `RUNTIME` that are installed."""
    unreadable: Mapping[str, str]
    """File → why it cannot be had."""
    reaches_virtual_ip: bool = True
    """It is an address of the very network that the node's own one is in."""
    virtual_ip_owner: str = ""
    """Hardware address of the machine that answers for it while nothing of the cluster runs yet."""


def problems(wanted: Wanted, seen: Seen) -> list[str]:
    """All that is in the way, each with what to do; empty where the machine can become the node."""
    return [
        *_system(seen),
        *_resources(wanted, seen),
        *(_kernel(seen) if wanted.runs_pods else ()),
        *_identity(wanted, seen),
        *_network(wanted, seen),
        *(_pods(wanted, seen) if wanted.runs_pods else ()),
        *(f"{file} cannot be read ({why}): mount or fill the mirror" for file, why in seen.unreadable.items()),
    ]


def _system(seen: Seen) -> list[str]:
    found = []
    if seen.system != "Linux" or seen.machine != "x86_64":
        found.append(f"the system is {seen.system} on {seen.machine}: use Linux on x86_64")
    if not seen.systemd:
        found.append("systemd is not process 1: use an image that boots with systemd")
    if not seen.root:
        found.append("the login user is not root: let the machine be entered as root")
    if seen.python < (3, 9):
        found.append(f"Python is {seen.python[0]}.{seen.python[1]}: install 3.9 or newer")
    return found


def _resources(wanted: Wanted, seen: Seen) -> list[str]:
    found = []
    cpus, memory = CPUS.get(wanted.role, 1), MEMORY_MIB.get(wanted.role, 0)
    if seen.cpus < cpus:
        found.append(f"it has {seen.cpus} CPU, {cpus} are needed: use a larger machine type")
    if seen.memory_mib < memory:
        found.append(f"it has {seen.memory_mib} MiB of memory, {memory} are needed: use a larger machine type")
    if seen.swaps and not seen.container:
        found.append(f"swap is on ({', '.join(seen.swaps)}): swapoff -a, and remove it from /etc/fstab")
    free, share = seen.disk_free / GIB, seen.disk_free / max(seen.disk_size, 1)
    if free < DISK_FREE_GIB or (share < DISK_FREE_SHARE and not seen.container):
        found.append(
            f"/var/lib has {free:.1f} GiB ({share:.0%}) left, {DISK_FREE_GIB} GiB and {DISK_FREE_SHARE:.0%} are needed"
            ": make room or use a larger disk"
        )
    return found


def _kernel(seen: Seen) -> list[str]:
    found = []
    if missing := sorted(set(MODULES) - seen.modules):
        found.append(f"the kernel has no {', '.join(missing)}: install the modules of the kernel that runs")
    if missing := sorted((CGROUPS_V2 if seen.cgroup_v2 else CGROUPS_V1) - seen.cgroups):
        found.append(f"the cgroup controllers {', '.join(missing)} are off: enable them on the kernel's command line")
    return found


def _identity(wanted: Wanted, seen: Seen) -> list[str]:
    found = []
    if seen.hostname != wanted.node and wanted.role != SPARE:
        found.append(f"its host name is {seen.hostname}: hostnamectl set-hostname {wanted.node}")
    if not re.fullmatch("[0-9a-f]{32}", seen.machine_id):
        found.append("/etc/machine-id holds no id: systemd-machine-id-setup")
    if abs(seen.skew_s) > CLOCK_SKEW_S:
        direction = "ahead of" if seen.skew_s > 0 else "behind"
        found.append(f"its clock is {abs(seen.skew_s):.0f} s {direction} ours: let it ask a time server (NTP)")
    if seen.joined and not (seen.ours and wanted.role != SPARE):
        found.append("it is a node of another cluster already: kubeadm reset there, or use another machine")
    return found


def _network(wanted: Wanted, seen: Seen) -> list[str]:
    found = []
    if not seen.has_address:
        found.append(f"no interface has its address {wanted.address}: configure it, or correct the inventory")
    if wanted.resolvers and not seen.resolved:
        found.append("systemd-resolved does not run, and it alone can find the endpoint's name: install and enable it")
    if not seen.reaches_virtual_ip:
        found.append(
            f"the virtual IP {wanted.virtual_ip} is in another network than its address {wanted.address}: make the "
            "cluster with a free address of this one"
        )
    if seen.virtual_ip_owner:
        found.append(
            f"the virtual IP {wanted.virtual_ip} is taken, {seen.virtual_ip_owner} answers for it: free it, or make "
            "the cluster with another one"
        )
    for port, process in sorted(wanted.ports.items()):
        owner = seen.listeners.get(port)
        if owner is not None and not (seen.ours and owner == process and wanted.role != SPARE):
            found.append(f"port {port} is taken by {owner}: stop it, {process} needs the port")
    return found


def _pods(wanted: Wanted, seen: Seen) -> list[str]:
    found = []
    if missing := sorted(set(COMMANDS) - seen.commands):
        found.append(f"commands are missing ({', '.join(missing)}): install the packages that bring them")
    if missing := sorted(set(RUNTIME) - seen.runtime - wanted.brings):
        found.append(f"there is no {' and no '.join(missing)}, here or in the mirror: install it, or put it there")
    return found
