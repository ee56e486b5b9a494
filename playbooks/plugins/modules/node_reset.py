#!/usr/bin/python
"""Ansible's side of the reset: one task that gives a machine back as it came."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed
from ansible.module_utils.caravan_static_pods import TooSlow
from ansible.module_utils.node_reset import reset
from ansible.module_utils.node_state import Host, Refused

DOCUMENTATION = r"""
module: node_reset
short_description: Give a machine back as it came
description:
  - Undoes kubeadm's part and all that node_state made, and removes what kubelet, kube-proxy and pod networks left.
  - Files and services that were there before are there again. Backups of etcd stay.
options:
  virtual_ip: {description: The cluster's virtual IP, which a control plane may carry, type: str, default: ""}
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
changes:
  description: What was undone, in order; in check mode what would be.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure nothing of Kubernetes is left on the machine
  node_reset:
"""


def main() -> None:
    """Reset."""
    module = AnsibleModule({"virtual_ip": {"type": "str", "default": ""}}, supports_check_mode=True)
    try:
        changes = reset(Host(), virtual_ip=module.params["virtual_ip"], check=module.check_mode)
    except (Refused, CommandFailed, TooSlow, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
