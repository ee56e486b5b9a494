"""Objects as the `Table` that kubectl prints: columns and cells by resource. Pure.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from caravan_sandbox.kube.furniture import is_ready
from caravan_sandbox.kube.objects import Stored
from caravan_sandbox.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    SERVICES,
    Resource,
)
from caravan_sandbox.kube.times import age

Body = Mapping[str, Any]
Cells = Callable[[Body, float], list[Any]]

_WIDE = 1  # a column's priority: shown with -o wide only
_ROLE_PREFIX = "node-role.kubernetes.io/"


def table(resource: Resource, stored: Iterable[Stored], now: float, metadata: Mapping[str, Any], include: str) -> Body:
    """A Table of the objects; `include` is the request's includeObject: Metadata, Object or None."""
    columns, cells = _LAYOUTS.get(resource.qualified, _DEFAULT)
    rows = [{"cells": cells(one.body, now), "object": _included(one.body, include)} for one in stored]
    definitions = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, priority in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _included(body: Body, include: str) -> Body | None:
    if include == "Object":
        return body
    if include == "None":
        return None
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}


def _age(body: Body, now: float) -> str:
    return age(body["metadata"]["creationTimestamp"], now)


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _node(body: Body, now: float) -> list[Any]:
    info = body["status"]["nodeInfo"]
    addresses = {entry["type"]: entry["address"] for entry in body["status"]["addresses"]}
    roles = [label.removeprefix(_ROLE_PREFIX) for label in body["metadata"]["labels"] if label.startswith(_ROLE_PREFIX)]
    return [
        _name(body),
        _node_status(body),
        ",".join(sorted(roles)) or "<none>",
        _age(body, now),
        info["kubeletVersion"],
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info["osImage"],
        info["kernelVersion"],
        info["containerRuntimeVersion"],
    ]


def _node_status(body: Body) -> str:
    cordoned = ",SchedulingDisabled" if body["spec"].get("unschedulable") else ""
    return ("Ready" if is_ready(body) else "NotReady") + cordoned


def _pod(body: Body, now: float) -> list[Any]:
    containers = body["status"]["containerStatuses"]
    ready = sum(container["ready"] for container in containers)
    wide = [body["status"]["hostIP"], body["spec"]["nodeName"]]
    return [_name(body), f"{ready}/{len(containers)}", body["status"]["phase"], "0", _age(body, now), *wide]


def _service(body: Body, now: float) -> list[Any]:
    spec = body.get("spec") or {}
    ports = ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or ())
    return [_name(body), spec.get("type", "ClusterIP"), spec.get("clusterIP", "None"), "<none>", ports, _age(body, now)]


def _binding(body: Body, now: float) -> list[Any]:
    return [_name(body), f"{body['roleRef']['kind']}/{body['roleRef']['name']}", _age(body, now)]


_Columns = tuple[tuple[str, int], ...]
_DEFAULT: tuple[_Columns, Cells] = ((("Name", 0), ("Age", 0)), lambda body, now: [_name(body), _age(body, now)])
_BINDING: tuple[_Columns, Cells] = ((("Name", 0), ("Role", 0), ("Age", 0)), _binding)
_LAYOUTS: Mapping[str, tuple[_Columns, Cells]] = {
    NODES.qualified: (
        (
            ("Name", 0),
            ("Status", 0),
            ("Roles", 0),
            ("Age", 0),
            ("Version", 0),
            ("Internal-IP", _WIDE),
            ("External-IP", _WIDE),
            ("OS-Image", _WIDE),
            ("Kernel-Version", _WIDE),
            ("Container-Runtime", _WIDE),
        ),
        _node,
    ),
    PODS.qualified: (
        (("Name", 0), ("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0), ("IP", _WIDE), ("Node", _WIDE)),
        _pod,
    ),
    NAMESPACES.qualified: (
        (("Name", 0), ("Status", 0), ("Age", 0)),
        lambda body, now: [_name(body), (body.get("status") or {}).get("phase", "Active"), _age(body, now)],
    ),
    SERVICES.qualified: (
        (("Name", 0), ("Type", 0), ("Cluster-IP", 0), ("External-IP", 0), ("Port(s)", 0), ("Age", 0)),
        _service,
    ),
    LEASES.qualified: (
        (("Name", 0), ("Holder", 0), ("Age", 0)),
        lambda body, now: [_name(body), body["spec"].get("holderIdentity", ""), _age(body, now)],
    ),
    CLUSTER_ROLE_BINDINGS.qualified: _BINDING,
    ROLE_BINDINGS.qualified: _BINDING,
}
