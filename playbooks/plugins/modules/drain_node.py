"""Empty a node, let the cluster forget it, or let it take pods again. Runs on a control plane that stays.

One task does all of it, because a task costs the controller more than the work costs here. What cannot end well is
refused before anything is touched: an etcd member whose leaving would cost the quorum.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caravan_commands import CommandFailed
from ansible.module_utils.caravan_etcdctl import Etcdctl
from ansible.module_utils.caravan_evictions import in_the_way, sentence
from ansible.module_utils.caravan_kubectl import Kubectl, is_ready, kubelet_version
from ansible.module_utils.caravan_quorum import Member, find, objection

DOCUMENTATION = r"""
module: drain_node
short_description: Empty a node, let the cluster forget it, or let it take pods again
description:
  - Runs on a control plane that stays; the node itself is not needed.
options:
  node:
    description: Name of the node.
    type: str
    required: true
  state:
    description:
      - C(drained) - its pods are elsewhere and it takes no new ones; nothing is done where I(version) already runs.
      - C(removed) - drained, no member of etcd, forgotten by the cluster.
      - C(schedulable) - it is Ready, runs I(version) and takes pods; its kube-apiserver, if any, serves steadily.
    type: str
    choices: [drained, removed, schedulable]
    required: true
  version:
    description: Kubernetes version that the kubelet is to run.
    type: str
    default: ""
  address:
    description: Address of the node; finds its etcd member where that has no name yet, and its kube-apiserver.
    type: str
    default: ""
  api_port:
    description: Port of the node's kube-apiserver; 0 where it has none.
    type: int
    default: 0
  is_member:
    description: The node carries a member of etcd.
    type: bool
    default: false
  etcd_endpoints:
    description: Client URLs of an external etcd's other members; empty where etcd runs on the control planes.
    type: list
    elements: str
    default: []
  dead:
    description: The machine is known to be gone; its pods are not waited for.
    type: bool
    default: false
  timeout_s:
    description: Seconds that a drain, or a wait for Ready, may take.
    type: int
    default: 300
  force:
    description: After that time delete what a PodDisruptionBudget holds back.
    type: bool
    default: false
author: [Caravan]
"""
EXAMPLES = r"""
- name: Ensure the node is drained
  drain_node: {node: w-1, state: drained, timeout_s: 300}
  delegate_to: cp-1
"""
RETURN = r"""
done:
  description: What was changed, in order.
  type: list
  elements: str
  returned: always
"""

ONE_AT_A_TIME = "/run/lock/caravan-etcd-members"  # two leaving members must not be judged by the same count
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"  # detaches a dead node's volumes at once
DETACHED_WITHIN_S = 30  # then the attach-detach controller's own six minutes have to do
LOOK_EVERY_S = 1
STEADY_S = 10  # a new kubelet starts all static pods anew, some seconds after it has told its version
SLACK_S = 15  # kubectl ends by itself after its own timeout


class Refused(Exception):
    """It must not or cannot be done; the text is for a person."""


class Node:
    """The node that is worked on. `done` collects what was changed; in check mode, what would be."""

    def __init__(self, asked: dict[str, Any], *, only_look: bool) -> None:
        self._asked, self._only_look = asked, only_look
        self._name: str = asked["node"]
        self._kube = Kubectl()
        self.done: list[str] = []

    def remove(self) -> None:
        """No pods, no etcd member, no Node object."""
        if self._asked["is_member"]:
            self._may_leave_etcd()
        node = self._look()
        if node:
            self._give_up_pods() if self._asked["dead"] else self._drain(node)
        if self._asked["is_member"]:
            self._leave_etcd()
        if node:
            self._act("forgot the node", "delete", "node", self._name)

    def drain(self) -> None:
        """Pods are elsewhere, unless the node runs the wanted version already or is the only one that can run them."""
        node = self._look()
        if node is None:
            raise Refused(f"the cluster has no node {self._name}")
        if kubelet_version(node) == self._asked["version"] or not self._others_take_pods():
            return
        try:
            self._drain(node)
        except Refused:
            self._act("took it back", "uncordon", self._name)  # nothing was done to it: it can go on serving
            raise

    def make_schedulable(self) -> None:
        """Wait for Ready with the version, and for the kube-apiserver, then let pods come."""
        deadline = time.monotonic() + self._asked["timeout_s"]
        node = self._look_patiently(deadline)
        changing = not self._is_up(node) or bool(node and node["spec"].get("unschedulable"))
        while not self._only_look and not self._is_up(node):
            if time.monotonic() > deadline:
                raise Refused(self._why_not_up(node))
            time.sleep(LOOK_EVERY_S)
            node = self._look_patiently(deadline)
        if changing and self._asked["api_port"] and not self._only_look:
            self._wait_for_apiserver(deadline)
        if node and node["spec"].get("unschedulable"):
            self._act("uncordoned", "uncordon", self._name)

    def _drain(self, node: dict[str, Any]) -> None:
        if not node["spec"].get("unschedulable"):
            self._act("cordoned", "cordon", self._name)
        pods = in_the_way(self._kube.pods_on(self._name))
        if not pods or self._only_look:
            return
        silent = is_ready(node) == "Unknown"  # no kubelet will ever say that a pod has ended
        unanswered = ["--grace-period=1", "--skip-wait-for-delete-timeout=1"] if silent else []
        if not self._evict(*unanswered) and not (
            self._asked["force"] and self._evict("--disable-eviction", *unanswered)
        ):
            left = in_the_way(self._kube.pods_on(self._name))
            budgets = self._kube.items("poddisruptionbudgets", "--all-namespaces")
            raise Refused(sentence(self._name, self._asked["timeout_s"], left, budgets, forced=self._asked["force"]))
        self.done.append(f"moved {len(pods)} pods")

    def _evict(self, *how: str) -> bool:
        limit = self._asked["timeout_s"]
        what = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={limit}s", *how]
        try:
            self._kube.tell("drain", self._name, *what, within_s=limit + SLACK_S)
        except CommandFailed:
            if in_the_way(self._kube.pods_on(self._name)):
                return False
        return True

    def _give_up_pods(self) -> None:
        self._act("tainted as out of service", "taint", "nodes", self._name, OUT_OF_SERVICE, "--overwrite")
        pods = self._kube.pods_on(self._name)
        if not pods:
            return
        at_once = ["--force", "--grace-period=0", "--wait=false"]
        everywhere = ["--all-namespaces", "--field-selector", f"spec.nodeName={self._name}"]
        self._act(f"gave up {len(pods)} pods", "delete", "pods", *everywhere, *at_once)
        deadline = time.monotonic() + DETACHED_WITHIN_S
        while not self._only_look and self._has_volumes() and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)

    def _has_volumes(self) -> bool:
        return any(item["spec"]["nodeName"] == self._name for item in self._kube.items("volumeattachments"))

    def _may_leave_etcd(self) -> Member | None:
        members = self._etcd().members()
        leaving = find(members, self._name, self._asked["address"])
        if leaving and (why := objection(members, leaving)):
            raise Refused(f"{self._name} cannot leave: {why}")
        return leaving

    def _leave_etcd(self) -> None:
        with Path(ONE_AT_A_TIME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if leaving := self._may_leave_etcd():
                if not self._only_look:
                    self._etcd().remove(leaving)
                self.done.append(f"removed etcd member {leaving.label}")

    def _etcd(self) -> Etcdctl:
        return Etcdctl(self._asked["etcd_endpoints"])

    def _others_take_pods(self) -> bool:
        return any(
            node["metadata"]["name"] != self._name
            and not node["spec"].get("unschedulable")
            and is_ready(node) == "True"
            for node in self._kube.items("nodes")
        )

    def _look(self) -> dict[str, Any] | None:
        node: dict[str, Any] | None = self._kube.get("node", self._name)
        return node

    def _look_patiently(self, deadline: float) -> dict[str, Any] | None:
        while time.monotonic() < deadline:
            with contextlib.suppress(CommandFailed):  # its kube-apiserver may just be starting again
                return self._look()
            time.sleep(LOOK_EVERY_S)
        return self._look()

    def _wait_for_apiserver(self, deadline: float) -> None:
        address, port = self._asked["address"], self._asked["api_port"]
        server = Kubectl(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        steady_from = time.monotonic()
        while time.monotonic() < steady_from + STEADY_S:
            if not _is_ready(server):
                steady_from = time.monotonic()
                if steady_from > deadline:
                    raise Refused(f"the kube-apiserver of {self._name} is not ready {self._asked['timeout_s']} s after")
            time.sleep(LOOK_EVERY_S)

    def _is_up(self, node: dict[str, Any] | None) -> bool:
        return node is not None and is_ready(node) == "True" and kubelet_version(node) == self._asked["version"]

    def _why_not_up(self, node: dict[str, Any] | None) -> str:
        seen = (
            f"Ready is {is_ready(node)} and it runs {kubelet_version(node)}" if node else "the cluster does not list it"
        )
        return f"{self._name} is not up with {self._asked['version']} after {self._asked['timeout_s']} s: {seen}"

    def _act(self, saying: str, *what: str) -> None:
        if not self._only_look:
            self._kube.tell(*what)
        self.done.append(saying)


def _is_ready(server: Kubectl) -> bool:
    try:
        return server.is_ready()
    except CommandFailed:  # that is an answer here
        return False


def main() -> None:
    """Ansible's entry."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["drained", "removed", "schedulable"]},
            "version": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "api_port": {"type": "int", "default": 0},
            "is_member": {"type": "bool", "default": False},
            "etcd_endpoints": {"type": "list", "elements": "str", "default": []},
            "dead": {"type": "bool", "default": False},
            "timeout_s": {"type": "int", "default": 300},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        node = Node(module.params, only_look=module.check_mode)
        {"removed": node.remove, "drained": node.drain, "schedulable": node.make_schedulable}[module.params["state"]]()
    except (Refused, CommandFailed, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(node.done), done=node.done)


if __name__ == "__main__":
    main()
