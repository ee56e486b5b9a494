"""What kubeadm_node decides: where a machine stands on its way into a cluster, and what kubeadm is to be told. Pure.

kubeadm's steps can be repeated, but its preflight refuses what its own last try left behind. So that any run can be
killed and repeated, a note beside kubeadm's files says which cluster they belong to and whether kubeadm came to its
end: what a try of ours left is gone on with, and nothing is ever wiped.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from typing import Any

NOTE = "/etc/kubernetes/caravan.json"
BEGUN, DONE = "begun", "done"  # what the note says of the last try
LONGEST_REASON = 450  # characters; a sentence for a user, the machine's log has the rest

_MANIFESTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
_KUBECONFIGS = ("kubelet.conf", "bootstrap-kubelet.conf")
_PORTS = (2379, 2380, 10250, 10257, 10259)  # etcd, kubelet, controller manager, scheduler


class Stands(Enum):
    """Where a machine stands."""

    OUTSIDE = "nothing of kubeadm's is here"
    HALFWAY = "a try of ours began and was cut short"
    INSIDE = "it is a node of the cluster"


class Refused(Exception):
    """The machine can't become a node of this cluster; the message is a sentence."""


def fingerprint(certificate: str) -> str:
    """Tells one authority from another: SHA-256 of its PEM text but for white space, as hexadecimal text."""
    return hashlib.sha256("".join(certificate.split()).encode()).hexdigest()


def stands(ca: str, ca_here: str | None, note: str | None, *, has_kubeconfig: bool) -> Stands:
    """Where the machine stands on its way into the cluster of the authority `ca` (PEM).

    `ca_here`: the authority that its Kubernetes trusts, PEM. `note`: text of our note. `has_kubeconfig`: its kubelet
    has credentials of a node. Raises Refused for a machine of another cluster.
    """
    told: dict[str, Any] = json.loads(note) if note else {}
    wanted = fingerprint(ca)
    if (ca_here and fingerprint(ca_here) != wanted) or told.get("ca", wanted) != wanted:
        raise Refused("the machine belongs to another cluster: /etc/kubernetes holds another authority; reset it first")
    if has_kubeconfig and (told.get("state") == DONE or (not told and ca_here)):
        return Stands.INSIDE  # without a note: it joined by itself
    return Stands.HALFWAY if told else Stands.OUTSIDE


def note_text(ca: str, mode: str, state: str) -> str:
    """The note's text."""
    return json.dumps({"ca": fingerprint(ca), "mode": mode, "state": state}) + "\n"


def arguments(mode: str, at: Stands, config: str, port: int, *, has_kubeconfig: bool) -> list[str]:
    """kubeadm's command line. `config`: path of the configuration; `port`: the kube-apiserver's."""
    command = ["kubeadm", mode, "--config", config]
    if mode == "init":
        command += ["--skip-token-print", "--skip-phases", "show-join-command"]
    if at is Stands.HALFWAY:
        command += ["--ignore-preflight-errors", ",".join(_left_behind(port))]
        if mode == "join" and has_kubeconfig:  # kubeadm would refuse a node that is Ready already
            command += ["--skip-phases", "kubelet-start"]
    return command


def reason(said: str) -> str:
    """Why kubeadm failed, from all it wrote: its failed checks, or the error that ended it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    checks = [line for line in lines if line.startswith("[ERROR ")]
    if checks:
        return " ".join(checks)[:LONGEST_REASON]
    begins = next((number for number, line in enumerate(lines) if line.startswith("error")), max(0, len(lines) - 3))
    told = [line for line in lines[begins:] if not line.startswith("To see the stack trace")]
    return " ".join(told).removeprefix("error: ")[:LONGEST_REASON] or "it ended without a word"


def _left_behind(port: int) -> list[str]:
    """Names of the preflight checks that fail on what kubeadm itself made (cmd/kubeadm/app/preflight/checks.go)."""
    files = [f"manifests-{name}.yaml" for name in _MANIFESTS] + [*_KUBECONFIGS, "pki-ca.crt"]
    return [
        *(f"Port-{number}" for number in (port, *_PORTS)),
        *(f"FileAvailable--etc-kubernetes-{name}" for name in files),
        "DirAvailable--etc-kubernetes-manifests",
        "DirAvailable--var-lib-etcd",
    ]
