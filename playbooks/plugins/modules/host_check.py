#!/usr/bin/python
"""Ansible's side of the host checks: one task that tells all that keeps a machine from becoming a node."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_check import problems, wanted_from
from ansible.module_utils.host_facts import look
from ansible.module_utils.node_state import Host

DOCUMENTATION = r"""
module: host_check
short_description: Tell all that keeps a machine from becoming a node
description:
  - Judges system, resources, kernel, identity, clock, network, ports, commands and the reach of what is to be fetched.
  - Changes nothing. Fails with every problem at once, each with what to do about it.
options:
  role:
    description: What the node is to be; spare is nothing yet, and able to become any of them.
    type: str
    required: true
    choices: [control-plane, etcd, worker, spare]
  node: {description: The node's name in its cluster, type: str, required: true}
  address: {description: The node's address, type: str, required: true}
  api_port: {description: Port of the kube-apiserver, type: int, required: true}
  own_etcd: {description: Whether a control plane brings its etcd member, type: bool, required: true}
  virtual_ip: {description: The address that a control plane will carry, type: str, default: ""}
  first: {description: Whether nothing of the cluster runs before this node, type: bool, default: false}
  resolvers: {description: Whether systemd-resolved is to ask further DNS servers, type: bool, required: true}
  controller_time: {description: The controller's clock in seconds since 1970, type: float, required: true}
  artifacts: {description: The files that this role needs, type: dict, required: true}
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
problems:
  description: What is in the way, a sentence each.
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure the machine can become a worker
  host_check:
    role: worker
    node: demo-workers-1
    address: 10.0.0.7
    api_port: 6443
    own_etcd: false
    resolvers: false
    controller_time: "{{ now(utc=true).timestamp() }}"
    artifacts: {}
"""


def main() -> None:
    """Look, judge, tell."""
    needed = {"required": True}
    module = AnsibleModule(
        {
            "role": {"choices": ["control-plane", "etcd", "worker", "spare"], **needed},
            "node": needed,
            "address": needed,
            "api_port": {"type": "int", **needed},
            "own_etcd": {"type": "bool", **needed},
            "virtual_ip": {"default": ""},
            "first": {"type": "bool", "default": False},
            "resolvers": {"type": "bool", **needed},
            "controller_time": {"type": "float", **needed},
            "artifacts": {"type": "dict", **needed},
        },
        supports_check_mode=True,
    )
    wanted = wanted_from(module.params)
    found = problems(wanted, look(wanted, module.params["controller_time"], Host()))
    if found:
        module.fail_json(msg=f"{wanted.node} cannot become a node yet. " + "; ".join(found), problems=found)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
