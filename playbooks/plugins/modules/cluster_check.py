#!/usr/bin/python
"""Wait until nodes are what they should be, and say plainly which are not and why. Runs on a control plane."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_kubectl import CommandFailed, Kubectl

DOCUMENTATION = r"""
module: cluster_check
short_description: Wait until nodes are ready and the cluster's own DNS answers
description:
  - Looks until all is as wanted; fails after the time is over, with what each node itself says.
options:
  nodes:
    description: Names of the nodes to wait for; others are not looked at.
    type: list
    elements: str
    required: true
  ready:
    description: Whether there is a pod network, so that nodes become Ready and CoreDNS runs; else they are only listed.
    type: bool
    required: true
  timeout_s:
    description: Seconds to wait.
    type: int
    required: true
attributes:
  check_mode:
    support: full
"""

RETURN = r"""
problems:
  description: What is not as wanted, a sentence each.
  returned: failure
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Ensure the nodes are ready
  cluster_check: {nodes: [worker-1], ready: true, timeout_s: 300}
"""

LOOK_EVERY_S = 1
TOLD_OF = 3  # nodes that a sentence names; the rest are counted
READY_CONDITION = 'jsonpath={range .items[*]}[{.metadata.name},{.status.conditions[?(@.type=="Ready")]}]{"\\n"}{end}'


def node_problems(seen: dict[str, dict[str, Any]], wanted: list[str], *, ready: bool) -> list[str]:
    """Why nodes are not as wanted. `seen`: each node's Ready condition (status, message) by its name."""
    problems = [f"{name} is not a node of the cluster" for name in wanted if name not in seen]
    if ready:
        found = {name: seen[name] for name in wanted if name in seen}
        problems += [
            f"{name} is not ready: {condition.get('message') or 'its kubelet has not told yet'}"
            for name, condition in found.items()
            if condition.get("status") != "True"
        ]
    return problems


def dns_problems(deployment: dict[str, Any] | None) -> list[str]:
    """Why the cluster's DNS is not available; a cluster may have another one than CoreDNS, which is then not judged."""
    if deployment is None:
        return []
    status = deployment.get("status", {})
    available = next((c for c in status.get("conditions", ()) if c["type"] == "Available"), {"status": "Unknown"})
    if available["status"] == "True":
        return []
    return [
        f"CoreDNS is not available: {status.get('availableReplicas', 0)} of {deployment['spec']['replicas']} pods run"
    ]


def sentence(problems: list[str]) -> str:
    """The first problems, and how many more there are."""
    more = len(problems) - TOLD_OF
    return "; ".join(problems[:TOLD_OF]) + (f"; and {more} more" if more > 0 else "")


def parse_conditions(told: str) -> dict[str, dict[str, Any]]:
    """Ready conditions by node, from `[name,condition]` a line; a brand-new node has no condition."""
    parted = (line[1:-1].partition(",") for line in told.splitlines() if line)
    return {name: json.loads(condition or "{}") for name, _, condition in parted}


def look(kubectl: Kubectl, wanted: list[str], *, ready: bool) -> list[str]:
    """Ask once. A kube-apiserver that does not answer is a problem like others: it may do so a moment later."""
    try:
        seen = parse_conditions(kubectl.tell("get", "nodes", "--output", READY_CONDITION))
        problems = node_problems(seen, wanted, ready=ready)
        if ready and not problems:
            problems = dns_problems(kubectl.get("deployment", "coredns", "--namespace", "kube-system"))
    except CommandFailed as failed:
        return [str(failed)]
    return problems


def main() -> None:
    """Wait, and fail with the problems that are left."""
    module = AnsibleModule(
        {
            "nodes": {"type": "list", "elements": "str", "required": True},
            "ready": {"type": "bool", "required": True},
            "timeout_s": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if module.check_mode:  # what was not made can't be waited for
        module.exit_json(changed=False)
    until = time.monotonic() + asked["timeout_s"]
    kubectl = Kubectl()
    while problems := look(kubectl, asked["nodes"], ready=asked["ready"]):
        if time.monotonic() > until:
            module.fail_json(msg=f"after {asked['timeout_s']} s {sentence(problems)}", problems=problems)
        time.sleep(LOOK_EVERY_S)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
