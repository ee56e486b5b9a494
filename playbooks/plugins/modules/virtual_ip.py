#!/usr/bin/python
"""Ansible's side of the virtual IP: this control plane carries it when it is its turn, or leaves it to the others."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed
from ansible.module_utils.caravan_static_pods import TooSlow
from ansible.module_utils.caravan_virtual_ip import VirtualIp
from ansible.module_utils.node_state import Refused

DOCUMENTATION = r"""
module: virtual_ip
short_description: Let a control plane carry the virtual IP, or leave it to the others
description:
  - C(present) places kube-vip's manifest, waits until it runs as that says, and until somebody answers at the address.
  - C(elsewhere) ends kube-vip here and waits until another control plane answers, and until those who only listen have
    noticed; where none does, kube-vip comes back.
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


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(SPEC, supports_check_mode=True, required_if=[("state", "present", ["manifest"])])
    asked = module.params
    virtual_ip = VirtualIp(asked["address"], asked["port"], asked["node_address"])
    try:
        if asked["state"] == "present":
            changes = virtual_ip.present(asked["manifest"], check=module.check_mode)
        else:
            changes = virtual_ip.elsewhere(check=module.check_mode)
    except (TooSlow, CommandFailed, Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
