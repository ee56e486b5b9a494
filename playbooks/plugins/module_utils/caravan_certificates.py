"""Let kubeadm sign certificates with an authority whose key must not stay on the machine.

The key lies on a tmpfs for as long as kubeadm needs it. Members of an external etcd, and control planes that use one,
keep their certificates and the authority's public half.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible.module_utils.caravan_commands import run

PKI = "/etc/kubernetes/pki"
WORKSHOP = "/run/caravan/pki"  # kubeadm's certificatesDir in its configuration of mode "certificates"
SIGNED_WITHIN_S = 60

FILES = {
    "etcd-server": "etcd/server",
    "etcd-peer": "etcd/peer",
    "etcd-healthcheck-client": "etcd/healthcheck-client",
    "apiserver-etcd-client": "apiserver-etcd-client",
}
"""kubeadm's name of a certificate → its path below the certificates' directory, without suffix."""


def missing(names: list[str], ca_cert: str, pki: Path) -> list[str]:
    """The certificates that are not there, or, where another authority is trusted than `ca_cert`, all of them."""
    trusted = pki / "etcd/ca.crt"
    if not trusted.is_file() or trusted.read_text() != ca_cert:
        return names
    return [name for name in names if not all((pki / f"{FILES[name]}{end}").is_file() for end in (".crt", ".key"))]


def sign(names: list[str], *, ca_cert: str, ca_key: str, config: str, pki: Path, workshop: Path) -> None:
    """Make the certificates and put them below `pki`. Raises CommandFailed where kubeadm can't."""
    shutil.rmtree(workshop, ignore_errors=True)
    (workshop / "etcd").mkdir(mode=0o700, parents=True)
    try:
        _write(workshop / "etcd/ca.crt", ca_cert)
        _write(workshop / "etcd/ca.key", ca_key)
        _write(workshop / "kubeadm.yaml", config)
        for name in names:
            command = ["kubeadm", "init", "phase", "certs", name, "--config", str(workshop / "kubeadm.yaml")]
            run(command, SIGNED_WITHIN_S)
        (pki / "etcd").mkdir(parents=True, exist_ok=True)
        for name in names:
            for end in (".key", ".crt"):
                shutil.move(workshop / f"{FILES[name]}{end}", pki / f"{FILES[name]}{end}")
        _write(pki / "etcd/ca.crt", ca_cert)  # last: it says that the others are there
    finally:
        shutil.rmtree(workshop)


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)
