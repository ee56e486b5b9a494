#!/usr/bin/python
"""Make a machine a node of its cluster with kubeadm, whatever an earlier try left on it. One task a node.

A lock keeps a second run waiting for what a first one, whose controller has died, is still at: kubeadm goes on to its
end on the machine, and then there is nothing left to do.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils import caravan_certificates as certificates
from ansible.module_utils import caravan_kubeadm as kubeadm
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_readyz import TRUSTED, readyz, unready
from ansible.module_utils.node_state import SEARCH_PATH, Host, apply
from ansible.module_utils.node_state import Refused as StateRefused

DOCUMENTATION = r"""
module: kubeadm_node
short_description: Make a machine a node of its cluster
description:
  - Places the node's files, lets kubeadm sign what it needs of an external etcd, and runs kubeadm's init or join.
  - A machine that is a node of the cluster already stays as it is; one that a killed run left halfway is gone on with;
    one of another cluster is refused.
options:
  mode:
    description: What kubeadm does; C(certificates) signs them and nothing else.
    choices: [init, join, certificates]
    required: true
    type: str
  ca_cert:
    description: The cluster's authority, PEM.
    type: str
    default: ""
  config:
    description: kubeadm's configuration for the mode.
    type: str
    default: ""
  files:
    description: Files to place first, as node_state takes them.
    type: list
    elements: dict
    default: []
  sign:
    description: Certificates to have signed first (C(names)), by C(ca_cert) and C(ca_key), under C(config) of kubeadm.
    type: dict
  address:
    description: The node's address, for a control plane, whose kube-apiserver has to answer there; else empty.
    type: str
    default: ""
  port:
    description: The kube-apiserver's port.
    type: int
    default: 6443
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
changes:
  description: What was done; in check mode what would be.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure the node has joined
  kubeadm_node:
    mode: join
    ca_cert: "{{ pki.ca_cert }}"
    config: "{{ lookup('ansible.builtin.template', 'kubeadm.yaml.j2') }}"
"""

LOCK = Path("/run/lock/caravan-kubeadm")
CONFIG = Path("/run/caravan/kubeadm.yaml")  # a tmpfs: there is a token in it
KUBELET_CREDENTIALS = Path("/etc/kubernetes/kubelet.conf")
KUBEADM_WITHIN_S = 1500  # beyond all of kubeadm's own waits together
APISERVER_WITHIN_S = 120  # a control plane that has just booted
LOOK_EVERY_S = 0.5
SPEC = {
    "mode": {"type": "str", "required": True, "choices": ["init", "join", "certificates"]},
    "ca_cert": {"type": "str", "default": ""},
    "config": {"type": "str", "default": "", "no_log": True},
    "files": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "sign": {"type": "dict", "no_log": True},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 6443},
}


def main() -> None:
    """Take the machine to where it shall be."""
    module = AnsibleModule(SPEC, supports_check_mode=True)
    os.environ["PATH"] = f"{SEARCH_PATH}:{os.environ.get('PATH', '')}"
    try:
        with _alone():
            changes = _signed(module.params["sign"], check=module.check_mode)
            if module.params["mode"] != "certificates":
                changes += _member(module.params, check=module.check_mode)
    except CommandFailed as failed:
        module.fail_json(msg=f"kubeadm: {kubeadm.reason(failed.said)}", said=failed.said)
    except (kubeadm.Refused, StateRefused) as refused:
        module.fail_json(msg=str(refused))
    module.exit_json(changed=bool(changes), changes=changes)


def _signed(wanted: dict[str, Any] | None, *, check: bool) -> list[str]:
    if not wanted:
        return []
    pki = Path(certificates.PKI)
    names = certificates.missing(wanted["names"], wanted["ca_cert"], pki)
    if names and not check:
        given = {name: wanted[name] for name in ("ca_cert", "ca_key", "config")}
        certificates.sign(names, **given, pki=pki, workshop=Path(certificates.WORKSHOP))
    return [f"certificate {name}" for name in names]


def _member(wanted: dict[str, Any], *, check: bool) -> list[str]:
    has_kubeconfig = KUBELET_CREDENTIALS.is_file()
    at = kubeadm.stands(wanted["ca_cert"], _text(TRUSTED), _text(Path(kubeadm.NOTE)), has_kubeconfig=has_kubeconfig)
    if at is kubeadm.Stands.INSIDE:
        if wanted["address"]:
            _wait_for_apiserver(wanted["address"], wanted["port"])
        return []
    mode = wanted["mode"]
    if not check:
        _note(wanted["ca_cert"], mode, kubeadm.BEGUN)
        apply({"files": wanted["files"]}, Host(address=wanted["address"]))
        _run(kubeadm.arguments(mode, at, str(CONFIG), wanted["port"], has_kubeconfig=has_kubeconfig), wanted["config"])
        _note(wanted["ca_cert"], mode, kubeadm.DONE)
    return [f"kubeadm {mode}"]


def _run(command: list[str], config: str) -> None:
    CONFIG.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        CONFIG.touch(mode=0o600)
        CONFIG.write_text(config)
        run(command, KUBEADM_WITHIN_S)
    finally:
        CONFIG.unlink()


def _note(ca_cert: str, mode: str, state: str) -> None:
    note = Path(kubeadm.NOTE)
    note.parent.mkdir(parents=True, exist_ok=True)
    new = note.with_suffix(".new")
    new.write_text(kubeadm.note_text(ca_cert, mode, state))
    new.replace(note)


def _wait_for_apiserver(address: str, port: int) -> None:
    until = time.monotonic() + APISERVER_WITHIN_S
    while (problem := unready(address, port)) is not None:
        if time.monotonic() > until:
            at = readyz(address, port)
            raise kubeadm.Refused(f"the kube-apiserver at {at} is not ready after {APISERVER_WITHIN_S} s: {problem}")
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _alone() -> Iterator[None]:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


if __name__ == "__main__":
    main()
