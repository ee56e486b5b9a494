"""Renew what ends soon of a node's certificates, and restart what still runs with the old ones.

kubeadm renews what it once made. What an external etcd needs was signed with an authority whose key does not stay on
the machine, so that is signed anew in the same way. The kubelet renews its own by itself.

A static pod is restarted where its container is older than its certificates: so a run that was killed between the two
is made good by the next one. etcd outside of a pod needs no restart, it reads its certificates for every connection.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from ansible.module_utils import caravan_certificates as certificates
from ansible.module_utils import caravan_static_pods as static_pods
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_x509 import not_after

DOCUMENTATION = r"""
module: renew_certificates
short_description: Renew what ends soon of a node's certificates
description:
  - And restart the static pods that still run with older ones.
options:
  below_days:
    description: Renewed is what ends in fewer days than this.
    type: int
    required: true
  sign:
    description:
      - What was signed with a key that is not here (C(names)), by C(ca_cert) and C(ca_key), under C(config) of kubeadm.
    type: dict
author: [Caravan]
"""
EXAMPLES = r"""
- name: Ensure no certificate ends soon
  renew_certificates: {below_days: 30}
"""
RETURN = r"""
renewed:
  description: The certificates that were renewed.
  type: list
  elements: str
  returned: always
restarted:
  description: The static pods that were restarted.
  type: list
  elements: str
  returned: always
"""

ADMIN = Path("/etc/kubernetes/admin.conf")  # only a control plane has it
PKI = Path(certificates.PKI)
USED_BY = {
    "etcd": ("pki/etcd/server.crt", "pki/etcd/peer.crt"),
    "kube-apiserver": (
        "pki/apiserver.crt",
        "pki/apiserver-kubelet-client.crt",
        "pki/apiserver-etcd-client.crt",
        "pki/front-proxy-client.crt",
    ),
    "kube-controller-manager": ("controller-manager.conf",),
    "kube-scheduler": ("scheduler.conf",),
    "kube-vip": ("admin.conf",),
}
"""Static pod → the files below /etc/kubernetes that it reads when it starts."""
ASKED_WITHIN_S = 60
DAY_S = 86_400


def ending(listed: dict[str, Any], below_days: int) -> list[str]:
    """Of `kubeadm certs check-expiration`'s answer the certificates that are there and end too soon."""
    return [
        found["name"]
        for found in listed["certificates"]
        if not found["missing"] and not found["externallyManaged"] and found["residualTime"] < below_days * DAY_S
    ]


def outdated() -> list[str]:
    """The static pods that run with other certificates than those that lie there."""
    return [pod for pod, (_, made) in static_pods.running().items() if made < _newest(USED_BY[pod])]


def renew(below_days: int, sign: dict[str, Any] | None, *, only_look: bool) -> tuple[list[str], list[str]]:
    """What was renewed, and which static pods were restarted."""
    renewed = []
    if ADMIN.exists():
        renewed += ending(_listed(), below_days)
        for name in () if only_look else renewed:
            run(["kubeadm", "certs", "renew", name], ASKED_WITHIN_S)
    if sign:
        renewed += _sign(sign, below_days, only_look=only_look)
    restarted = outdated() if ADMIN.exists() else []
    if restarted and not only_look:
        static_pods.restart(restarted)
    return renewed, restarted


def _sign(wanted: dict[str, Any], below_days: int, *, only_look: bool) -> list[str]:
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=below_days)
    names = [name for name in wanted["names"] if _ends(name) < soon]
    if names and not only_look:
        given = {name: wanted[name] for name in ("ca_cert", "ca_key", "config")}
        certificates.sign(names, **given, pki=PKI, workshop=Path(certificates.WORKSHOP))
    return names


def _ends(name: str) -> datetime.datetime:
    return not_after((PKI / f"{certificates.FILES[name]}.crt").read_text())


def _listed() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run(["kubeadm", "certs", "check-expiration", "--output", "json"], ASKED_WITHIN_S))
    return told


def _newest(files: tuple[str, ...]) -> float:
    paths = [ADMIN.parent / file for file in files]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(
        argument_spec={
            "below_days": {"type": "int", "required": True},
            "sign": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        renewed, restarted = renew(module.params["below_days"], module.params["sign"], only_look=module.check_mode)
    except (static_pods.TooSlow, CommandFailed, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(renewed or restarted), renewed=renewed, restarted=restarted)


if __name__ == "__main__":
    main()
