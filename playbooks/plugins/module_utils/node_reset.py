"""Give a machine back as it came: kubeadm undoes its part, node_state what it made, and here goes what others left.

What kubelet, kube-proxy and CNI plugins leave behind is known by its names and cleaned up by nobody else
(https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-reset/). Backups of etcd stay.
"""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ansible.module_utils import caravan_virtual_ip
from ansible.module_utils.node_state import Change, Host, undo

OF_KUBEADM = ("/etc/kubernetes/*", "/var/lib/kubelet/*")
LEFTOVERS = (
    *OF_KUBEADM,
    "/etc/kubernetes",
    "/etc/cni/net.d/*flannel*",
    "/etc/cni/net.d/*cilium*",
    "/var/lib/etcd",
    "/var/lib/cni",
    "/var/run/cilium",
    "/var/log/containers",
    "/var/log/pods",
    "/run/flannel",
)
"""Globs. Of what may be a mount point only the content is named."""
OWN_CONTAINERD = "/usr/local/bin/containerd"
OF_OWN_CONTAINERD = ("/var/lib/containerd/*", "/run/containerd")
INTERFACES = re.compile(r"cni0|flannel[.-].*|kube-ipvs0|nodelocaldns|cilium_.*|lxc.*")
RULES = re.compile(r"(?:^:|-A |-j |-g )(?:KUBE|FLANNEL|CNI|CILIUM)[-_]")


def rest_of_rules(saved: str) -> str:
    """What remains of iptables-save's output without the chains of Kubernetes and its networks. Pure."""
    return "".join(line for line in saved.splitlines(keepends=True) if not RULES.search(line))


def reset(host: Host, *, virtual_ip: str = "", check: bool) -> list[str]:
    """Do all of it; what was done (with `check`: what would be). A second time finds nothing to do."""
    brought_containerd = OWN_CONTAINERD in host.record.archives
    undone = {path.rstrip("/") for path in host.record.made} if check else set()  # and would be gone by then
    told = _make(_before(host, virtual_ip), check=check)
    told += undo(host, check=check)
    left = (change for change in _after(host, brought_containerd=brought_containerd) if change.what not in undone)
    return told + _make(left, check=check)


def _make(changes: Iterator[Change], *, check: bool) -> list[str]:
    told = []
    for change in changes:
        if not check:
            change.make()
        told.append(change.what)
    return told


def _before(host: Host, virtual_ip: str) -> Iterator[Change]:
    """While kubeadm and containerd are there."""
    if virtual_ip and caravan_virtual_ip.is_here(virtual_ip):  # kubeadm would kill kube-vip, and the address stay
        yield Change(f"virtual IP {virtual_ip}", partial(caravan_virtual_ip.remove, virtual_ip))
    if host.at("/usr/local/bin/kubeadm").exists() and any(_found(host, path) for path in OF_KUBEADM):
        # Its member of etcd was taken out before, or the whole cluster goes: nobody needs to be asked.
        command = ("kubeadm", "reset", "--force", "--cleanup-tmp-dir", "--skip-phases=remove-etcd-member")
        yield Change("kubeadm's files and pods", _doing(host, *command))


def _after(host: Host, *, brought_containerd: bool) -> Iterator[Change]:
    for path in (*LEFTOVERS, *(OF_OWN_CONTAINERD if brought_containerd else ())):
        for found in _found(host, path):
            yield Change(str(found), partial(_remove, found))
    for interface in sorted(path.name for path in host.at("/sys/class/net").glob("*")):
        if INTERFACES.fullmatch(interface):
            yield Change(f"interface {interface}", _doing(host, "ip", "link", "delete", interface))
    for family in ("iptables", "ip6tables"):
        saved = host.run(f"{family}-save", check=False)
        if saved != (rest := rest_of_rules(saved)):
            yield Change(f"{family} rules", _doing(host, f"{family}-restore", given=rest))
    for family in ("ip", "ip6"):
        if f"table {family} kube-proxy" in host.run("nft", "list", "tables", check=False).splitlines():
            yield Change(f"table {family} kube-proxy", _doing(host, "nft", "delete", "table", family, "kube-proxy"))


def _found(host: Host, pattern: str) -> list[Path]:
    return [Path(path) for path in sorted(glob.glob(str(host.at(pattern))))]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _doing(host: Host, *command: str, given: str = "") -> Callable[[], None]:
    def make() -> None:
        host.run(*command, given=given)

    return make
