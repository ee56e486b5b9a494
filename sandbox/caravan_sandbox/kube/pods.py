"""The few pods that a cluster shows: its control planes' static ones, computed from the nodes. None of them runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.furniture import CONTROL_PLANE_LABEL, SIMULATED, is_ready
from caravan_sandbox.kube.objects import Stored
from caravan_sandbox.kube.resources import NODES

_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def pods(cluster: Cluster) -> Iterator[Stored]:
    """Every pod, in order of namespace and name."""
    stacked = not cluster.identity.external_etcd
    components = ("etcd", *_STATIC) if stacked else _STATIC
    control_planes = [node for node in cluster.collection(NODES).select() if _is_control_plane(node.body)]
    for component in components:
        for node in control_planes:
            yield Stored(_pod(component, node.body, cluster.identity.version))


def _is_control_plane(node: Mapping[str, Any]) -> bool:
    return CONTROL_PLANE_LABEL in node["metadata"]["labels"]


def _pod(component: str, node: Mapping[str, Any], version: str) -> dict[str, Any]:
    metadata = node["metadata"]
    name, image = metadata["name"], f"simulated/{component}:v{version}"
    ready = is_ready(node)
    since = metadata["creationTimestamp"]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"{component}-{name}",
            "namespace": "kube-system",
            "uid": f"{metadata['uid']}-{component}",
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": since,
            "labels": {"component": component, "tier": "control-plane"},
            "annotations": {**SIMULATED, "kubernetes.io/config.mirror": "simulated"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": metadata["uid"], "controller": True}
            ],
        },
        "spec": {"nodeName": name, "containers": [{"name": component, "image": image}], "hostNetwork": True},
        "status": {
            "phase": "Running",
            "hostIP": node["status"]["addresses"][0]["address"],
            "startTime": since,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {
                    "name": component,
                    "image": image,
                    "imageID": "",
                    "ready": ready,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": since}},
                }
            ],
        },
    }
