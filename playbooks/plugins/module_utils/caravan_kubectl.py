"""Ask and tell the kube-apiserver of this very control plane, with its kubectl and its administrator's kubeconfig.

The server is always the local one, never the cluster's name: while a control plane leaves or is dead, the name may
still lead to it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.caravan_commands import CommandFailed, run

ADMIN = "/etc/kubernetes/admin.conf"
APISERVER = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ADVERTISED = re.compile(r"kubeadm\.kubernetes\.io/kube-apiserver\.advertise-address\.endpoint:\s*\"?([^\s\"]+)")
ANSWERS_WITHIN_S = 30  # one question; a healthy kube-apiserver needs milliseconds


class Kubectl:
    """The local kube-apiserver. Every method raises CommandFailed when it cannot be asked."""

    def __init__(self, server: str = "") -> None:
        """`server`: another control plane's, as host:port; the local one where it is empty."""
        found = ADVERTISED.search(Path(APISERVER).read_text())
        at = server or (found.group(1) if found else "")
        self._base = ["kubectl", "--kubeconfig", ADMIN, *(["--server", f"https://{at}"] if at else [])]

    def get(self, *what: str) -> Any:
        """The JSON of `kubectl get …`; None where one named thing is asked for that does not exist."""
        answer = self._run("get", *what, "--ignore-not-found", "--output", "json")
        return json.loads(answer) if answer.strip() else None

    def is_ready(self) -> bool:
        """Whether it is ready to serve: etcd answers and it has loaded what it needs."""
        return self._run("get", "--raw", "/readyz").strip() == "ok"

    def items(self, *what: str) -> list[dict[str, Any]]:
        """The items of a list."""
        return list((self.get(*what) or {}).get("items", ()))

    def pods_on(self, node: str) -> list[dict[str, Any]]:
        """Every pod that is bound to the node."""
        return self.items("pods", "--all-namespaces", "--field-selector", f"spec.nodeName={node}")

    def tell(self, *what: str, within_s: float = ANSWERS_WITHIN_S) -> str:
        """Any other command."""
        return self._run(*what, within_s=within_s)

    def _run(self, *what: str, within_s: float = ANSWERS_WITHIN_S) -> str:
        return run([*self._base, *what], within_s)


def is_ready(node: dict[str, Any]) -> str:
    """The node's Ready condition: "True", "False", or "Unknown" while its kubelet is silent."""
    conditions = node.get("status", {}).get("conditions", ())
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "Unknown")


def kubelet_version(node: dict[str, Any]) -> str:
    """Such as 1.34.2."""
    return str(node["status"]["nodeInfo"]["kubeletVersion"]).lstrip("v")


def is_rolled_out(daemon_set: dict[str, Any]) -> bool:
    """Whether each of its nodes has an available pod of its present template."""
    status = daemon_set.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    return (
        status.get("observedGeneration", 0) >= daemon_set["metadata"]["generation"]
        and status.get("updatedNumberScheduled", 0) >= wanted
        and status.get("numberAvailable", 0) >= wanted
    )


__all__ = ["CommandFailed", "Kubectl", "is_ready", "is_rolled_out", "kubelet_version"]
