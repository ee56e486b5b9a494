"""The pods that a cluster shows, computed from its nodes: static ones, a proxy on each, DNS. None of them runs."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.furniture import CONTROL_PLANE_LABEL, SIMULATED, is_ready
from caravan_sandbox.kube.objects import Stored
from caravan_sandbox.kube.resources import NODES

_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_DNS_REPLICAS = 2

Node = Mapping[str, Any]


def pods(cluster: Cluster) -> Iterator[Stored]:
    """Every pod, in order of namespace and name."""
    stacked = not cluster.identity.external_etcd
    static = ("etcd", *_STATIC) if stacked else _STATIC
    nodes = [node.body for node in cluster.collection(NODES).select()]
    control_planes = [node for node in nodes if _is_control_plane(node)]
    homes = dict.fromkeys(static, control_planes)
    homes |= {"coredns": list(islice(filter(is_ready, nodes), _DNS_REPLICAS)), "kube-proxy": nodes}
    labels = {component: {"component": component, "tier": "control-plane"} for component in static}
    labels |= {"coredns": {"k8s-app": "kube-dns"}, "kube-proxy": {"k8s-app": "kube-proxy"}}
    for component in sorted(homes):
        for node in homes[component]:
            yield Stored(_pod(component, node, labels[component], cluster.identity.version))


def _is_control_plane(node: Node) -> bool:
    return CONTROL_PLANE_LABEL in node["metadata"]["labels"]


def _pod(component: str, node: Node, labels: Mapping[str, str], version: str) -> dict[str, Any]:
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
            "labels": dict(labels),
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
