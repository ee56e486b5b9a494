"""Read the conditions of a cluster's nodes from a NodeList, cheaply at 1,000 nodes.

Why the list and not something smaller: leases tell only that a kubelet lives, and the Table form (what `kubectl get
nodes` prints) only Ready or NotReady; pressure, and whether a kubelet went silent or reports trouble, are in the
conditions alone. A list is asked for every few probes, with resourceVersion=0, so that the kube-apiserver answers from
its watch cache and etcd is left alone. A real node is 10 to 15 KB of JSON (labels, images), so 1,000 of them would stop
the event loop for about 0.1 s if decoded at once: items are decoded one by one, and the loop gets its turn in between.
`bench/probes.py` measures it.

Conditions: https://kubernetes.io/docs/reference/node/node-status/#condition
"""

import asyncio
import json
import re
from typing import Any

from caravan_health.errors import NotAKubeApiserver
from caravan_health.observation import NodeReading
from caravan_shared.contracts.states import Verdict

PAGE = "/api/v1/nodes?limit=500"
FIRST_PAGE = f"{PAGE}&resourceVersion=0"

_ITEMS = re.compile(r'"items"\s*:\s*(null|\[\s*)')
_BETWEEN = re.compile(r"\s*[,\]]\s*")
_CONTINUE = re.compile(r'"continue"\s*:\s*"([^"]*)"')
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_ITEMS_A_TURN = 50  # about 4 ms of decoding
_MESSAGE_AT_MOST = 160  # characters of a kubelet's message; it may quote whole error chains
_decode = json.JSONDecoder().raw_decode


async def read_page(text: str) -> tuple[list[NodeReading], str]:
    """The readings of one page of a NodeList, and the `continue` token of the next page (empty: that was all)."""
    items = _ITEMS.search(text)
    if not items:
        raise NotAKubeApiserver("its list of nodes has no items")
    readings: list[NodeReading] = []
    try:
        end = await _read_items(text, items.end(), readings) if items[1] != "null" else items.end()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAKubeApiserver("its list of nodes cannot be read") from error
    onward = _CONTINUE.search(text, 0, items.start()) or _CONTINUE.search(text, end)
    return readings, onward[1] if onward else ""


async def _read_items(text: str, position: int, readings: list[NodeReading]) -> int:
    while not text.startswith("]", position):
        node, position = _decode(text, position)
        readings.append(read_node(node))
        if len(readings) % _ITEMS_A_TURN == 0:
            await asyncio.sleep(0)
        between = _BETWEEN.match(text, position)
        if not between:
            raise ValueError("neither a comma nor the end after a node")
        if "]" in between[0]:
            return between.end()
        position = between.end()
    return position


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
