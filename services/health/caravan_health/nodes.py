"""Read the conditions of a cluster's nodes from a NodeList, cheaply at 1,000 nodes.

Why the list and not something smaller: leases tell only that a kubelet lives, and the Table form (what `kubectl get
nodes` prints) only Ready or NotReady; pressure, and whether a kubelet went silent or reports trouble, are in the
conditions alone. A list is asked for every few probes, with resourceVersion=0, so that the kube-apiserver answers from
its watch cache and etcd is left alone.

Conditions: https://kubernetes.io/docs/reference/node/node-status/#condition
"""

from typing import Any

from caravan_health.observation import NodeReading
from caravan_shared.contracts.states import Verdict

NODES = "/api/v1/nodes?limit=500"

_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_MESSAGE_AT_MOST = 160  # characters of a kubelet's message; it may quote whole error chains


def read_node(node: dict[str, Any]) -> NodeReading:
    """What one Node object says of itself."""
    name = node["metadata"]["name"]
    conditions = {condition["type"]: condition for condition in node.get("status", {}).get("conditions") or ()}
    ready = conditions.get("Ready")
    if ready is None:
        return NodeReading(name, Verdict.UNKNOWN, "has not reported its conditions yet", ready=False)
    if ready["status"] == "Unknown":
        return NodeReading(name, Verdict.UNREACHABLE, "NotReady: its kubelet stopped posting status", ready=False)
    if ready["status"] != "True":
        return NodeReading(name, Verdict.DEGRADED, f"NotReady: {_told_by(ready)}", ready=False)
    pressed = [kind for kind in _PRESSURES if conditions.get(kind, {}).get("status") == "True"]
    if pressed:
        return NodeReading(name, Verdict.DEGRADED, ", ".join(pressed), ready=True)
    return NodeReading(name, Verdict.HEALTHY, "Ready", ready=True)


def _told_by(condition: dict[str, Any]) -> str:
    told = str(condition.get("message") or condition.get("reason") or "no reason given")
    return told if len(told) <= _MESSAGE_AT_MOST else told[: _MESSAGE_AT_MOST - 1] + "…"
