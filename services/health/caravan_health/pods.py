"""Read the pods that every cluster has: those of its network, its proxies and its DNS, in `kube-system`."""

from typing import Any

from caravan_health.observation import PodReading

SYSTEM_PODS = "/api/v1/namespaces/kube-system/pods?limit=500"

_DNS = {"k8s-app": "kube-dns"}  # as kubeadm labels CoreDNS


def read_pod(pod: dict[str, Any]) -> PodReading:
    """What one Pod object says of itself."""
    conditions = pod.get("status", {}).get("conditions") or ()
    labels = pod["metadata"].get("labels") or {}
    return PodReading(
        node=pod.get("spec", {}).get("nodeName") or "",
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        serves_dns=labels.items() >= _DNS.items(),
    )
