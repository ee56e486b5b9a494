#!/usr/bin/python
"""Ansible's side of node state: one task that brings a machine to the state that a document describes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.node_state import Host, Refused, apply

DOCUMENTATION = r"""
module: node_state
short_description: Bring a machine to the state that one document describes
description:
  - Directories, files, verified downloads, archives, kernel modules, sysctls, systemd units and container images,
    in this order, each made as wanted where it differs.
  - Refuses a file whose checksum does not hold, by its name, before anything is put into place.
options:
  document:
    description: The wanted state; module_utils/node_state.py says its keys.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
changes:
  description: What was changed, in order; in check mode what would be.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure packets are forwarded
  node_state:
    document:
      sysctls:
        net.ipv4.ip_forward: 1
"""


def main() -> None:
    """Apply the document."""
    module = AnsibleModule({"document": {"type": "dict", "required": True}}, supports_check_mode=True)
    document = module.params["document"]
    try:
        changes = apply(document, Host(address=document.get("address", "")), check=module.check_mode)
    except Refused as refused:
        module.fail_json(msg=str(refused))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
