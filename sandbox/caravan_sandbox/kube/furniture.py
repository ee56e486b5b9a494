"""What stands in a cluster from its first minute: namespaces, services, RBAC; and what a node looks like. Pure."""

import base64
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from caravan_sandbox.kube.authorization import DEFAULT_CLUSTER_ROLE_BINDINGS, DEFAULT_CLUSTER_ROLES
from caravan_sandbox.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    RBAC,
    SECRETS,
    SERVICES,
    Resource,
)
from caravan_sandbox.kube.times import micro_timestamp, timestamp
from caravan_sandbox.machines import MACHINE_TYPES, OS_IMAGE, Machine

SIMULATED = {"caravan.dev/simulated": "true"}
LEASE_NAMESPACE = "kube-node-lease"
TOKEN_SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105  # a type's name
UNREACHABLE_TAINTS = (
    {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
)
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
LEASE_DURATION_S = 40

_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


def first_objects(service_cidr: str, dns_domain: str) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Everything that kubeadm init and the controllers put into an empty cluster, as far as the sandbox has it."""
    for namespace in ("default", "kube-system", "kube-public", LEASE_NAMESPACE):
        yield NAMESPACES, _object(NAMESPACES, namespace, status={"phase": "Active"})
    addresses = ip_network(service_cidr, strict=False)
    yield SERVICES, _service("kubernetes", "default", str(addresses[1]), {}, "https", 443)
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    yield SERVICES, _service("kube-dns", "kube-system", str(addresses[10]), labels, "dns-tcp", 53)
    for name, rules in DEFAULT_CLUSTER_ROLES.items():
        yield CLUSTER_ROLES, _object(CLUSTER_ROLES, name, rules=rules)
    for name, (role, groups) in DEFAULT_CLUSTER_ROLE_BINDINGS.items():
        subjects = [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups]
        reference = {"kind": "ClusterRole", "apiGroup": RBAC, "name": role}
        yield CLUSTER_ROLE_BINDINGS, _object(CLUSTER_ROLE_BINDINGS, name, subjects=subjects, roleRef=reference)


def token_secret(token_id: str, secret: str, expires: str | None, groups: tuple[str, ...]) -> dict[str, Any]:
    """The Secret that is a bootstrap token."""
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": ",".join(groups),
        **({"expiration": expires} if expires else {}),
    }
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    body = _object(SECRETS, f"bootstrap-token-{token_id}", "kube-system", data=encoded)
    return {**body, "type": TOKEN_SECRET_TYPE}


def node(
    name: str, machine: Machine, labels: Mapping[str, str], taints: tuple[dict[str, str], ...], now: float
) -> dict[str, Any]:
    """A Node as its kubelet registers it, labelled as simulated wherever a person may look."""
    size = MACHINE_TYPES[machine.machine_type]
    role = {CONTROL_PLANE_LABEL: ""} if machine.control_plane else {}
    capacity = {
        "cpu": str(size.cpus),
        "memory": f"{size.memory_mib}Mi",
        "ephemeral-storage": f"{size.disk_gib}Gi",
        "pods": "110",
    }
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": machine.machine_type,
                **role,
                **SIMULATED,
                **labels,
            },
            "annotations": {**SIMULATED, "caravan.dev/machine-id": machine.id},
        },
        "spec": {"providerID": provider_id(machine.id), **({"taints": list(taints)} if taints else {})},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions(now, ready=True),
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": node_info(machine),
        },
    }


def node_info(machine: Machine) -> dict[str, str]:
    """What the kubelet tells of its machine."""
    return {
        "machineID": machine.id.replace("-", ""),
        "systemUUID": machine.id,
        "bootID": machine.id,
        "kernelVersion": "0.0.0-simulated",
        "osImage": OS_IMAGE,
        "containerRuntimeVersion": "simulated://0.0.0",
        "kubeletVersion": f"v{machine.kubelet_version}",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }


def provider_id(machine_id: str) -> str:
    """How a Node names its machine."""
    return f"caravan-sandbox://{machine_id}"


def conditions(now: float, *, ready: bool) -> list[dict[str, str]]:
    """A node's conditions: all well, or all Unknown because its kubelet fell silent."""
    at = timestamp(now)
    times = {"lastHeartbeatTime": at, "lastTransitionTime": at}
    if not ready:
        unknown = {
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        }
        return [{"type": name, **unknown, **times} for name in (*_PRESSURES, "Ready")]
    pressures = [
        {"type": name, "status": "False", "reason": reason, "message": message, **times}
        for name, (reason, message) in _PRESSURES.items()
    ]
    ready_now = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return [*pressures, {**ready_now, "message": "kubelet is posting ready status (simulated)", **times}]


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a Node's Ready condition is True."""
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in node["status"]["conditions"])


def lease(node_name: str, now: float) -> dict[str, Any]:
    """The node's heartbeat."""
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": node_name, "namespace": LEASE_NAMESPACE, "annotations": dict(SIMULATED)},
        "spec": {
            "holderIdentity": node_name,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": micro_timestamp(now),
        },
    }


def _object(resource: Resource, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "annotations": dict(SIMULATED)}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata, **fields}


def _service(name: str, namespace: str, address: str, labels: dict[str, str], port: str, number: int) -> dict[str, Any]:
    ports = [{"name": port, "port": number, "protocol": "TCP", "targetPort": number}]
    spec = {"clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "ports": ports}
    body = _object(SERVICES, name, namespace, spec=spec, status={"loadBalancer": {}})
    return {**body, "metadata": {**body["metadata"], "labels": labels}}
