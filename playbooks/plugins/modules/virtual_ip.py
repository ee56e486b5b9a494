#!/usr/bin/python
"""Let this control plane carry the cluster's virtual IP whenever it is its turn, or leave it to the others."""

from __future__ import annotations

from typing import Any

from ansible.module_utils import caravan_virtual_ip as virtual_ip
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed
from ansible.module_utils.caravan_static_pods import TooSlow
from ansible.module_utils.node_state import Host, Refused, apply

DOCUMENTATION = r"""
module: virtual_ip
short_description: Let a control plane carry the virtual IP, or leave it to the others
description:
  - C(present) places kube-vip's manifest, waits until it runs as that says, and until somebody answers at the address.
  - C(elsewhere) ends kube-vip here and waits until another control plane answers; where none does, kube-vip comes back.
options:
  state: {description: What shall be so, type: str, required: true, choices: [present, elsewhere]}
  address: {description: The virtual IP, type: str, required: true}
  port: {description: Port of every kube-apiserver, type: int, required: true}
  node_address:
    description: The node's own address; its interface carries the virtual IP.
    type: str
    required: true
  manifest:
    description: kube-vip's manifest, where it is to run; in it C({interface}) stands for that interface.
    type: str
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
- name: Ensure another control plane carries the virtual IP
  virtual_ip: {state: elsewhere, address: 10.0.0.250, port: 6443, node_address: 10.0.0.7}
"""

SPEC = {
    "state": {"type": "str", "required": True, "choices": ["present", "elsewhere"]},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "node_address": {"type": "str", "required": True},
    "manifest": {"type": "str"},
}


def present(asked: dict[str, Any], *, check: bool) -> list[str]:
    """Have kube-vip run as the manifest says, and the address answered, by whomever."""
    before = "" if check else virtual_ip.container()
    changes = _place(asked["manifest"], asked["node_address"], check=check)
    if not check:
        if changes:
            virtual_ip.wait_for_another(before)
        virtual_ip.wait_until_answered(asked["address"], asked["port"], virtual_ip.STARTS_WITHIN_S)
    return changes


def elsewhere(asked: dict[str, Any], *, check: bool) -> list[str]:
    """Have nothing of it here, and another control plane answer."""
    if not virtual_ip.is_here(asked["address"]):
        return []
    if check:
        return [f"virtual IP {asked['address']}"]
    manifest = virtual_ip.MANIFEST.read_text() if virtual_ip.MANIFEST.exists() else ""
    changes = list(virtual_ip.removal(asked["address"]))
    try:
        virtual_ip.wait_until_answered(asked["address"], asked["port"], virtual_ip.TAKEN_OVER_WITHIN_S)
    except TooSlow:
        if manifest:  # a control plane that leaves is better than none
            _place(manifest, asked["node_address"], check=False)
        raise
    return changes


def _place(manifest: str, node_address: str, *, check: bool) -> list[str]:
    file = {"path": str(virtual_ip.MANIFEST), "mode": "0600", "content": manifest, "facts": ["interface"]}
    return apply({"files": [file]}, Host(address=node_address), check=check)


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(SPEC, supports_check_mode=True, required_if=[("state", "present", ["manifest"])])
    do = {"present": present, "elsewhere": elsewhere}[module.params["state"]]
    try:
        changes = do(module.params, check=module.check_mode)
    except (TooSlow, CommandFailed, Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
