"""Where a cluster's etcd lives and how many of its members have to answer, as an SVG picture. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from caravan_api.store import Node
from caravan_shared.contracts.spec import CONTROL_PLANE_SET, ETCD_SET
from caravan_shared.contracts.states import Verdict

_BOX, _GAP, _HEIGHT = 150, 16, 58
_ROW = 108
_TOP = 40
_LONGEST = 21
_DRAWN = 9
"""Boxes in a row; the rest is a number."""


@dataclass(frozen=True, slots=True)
class _Row:
    nodes: Sequence[Node]
    y: int
    has_etcd: bool
    label: str


def topology(nodes: Sequence[Node], endpoint: str, cluster: str) -> Markup:
    """The control planes of a cluster behind their endpoint, with etcd on them or behind them."""
    planes = [node for node in nodes if node.node_set == CONTROL_PLANE_SET]
    members = [node for node in nodes if node.node_set == ETCD_SET]
    rows = [_Row(planes, _TOP + 40, not members, "kube-apiserver")]
    if members:
        rows.append(_Row(members, _TOP + 40 + _ROW, True, "etcd"))
    width = max(_width(len(row.nodes)) for row in rows)
    height = rows[-1].y + _HEIGHT + 34
    drawn = [_endpoint(endpoint, width), *_lines(rows, width)]
    drawn += [_box(node, x, row, cluster) for row in rows for node, x in _placed(row.nodes, width)]
    told = quorum(len(members or planes))
    return Markup(
        '<svg class="topology" viewBox="0 0 {0} {1}" width="{0}" role="img"><title>{2}</title>{3}'
        '<text class="topology-note" x="{4}" y="{5}">{2}</text></svg>'
    ).format(width, height, told, Markup("").join(drawn), width // 2, height - 8)


def quorum(members: int) -> str:
    """How many of so many etcd members have to answer, in words."""
    if members == 0:
        return "No etcd member runs yet"
    needed = members // 2 + 1
    spare = members - needed
    lost = f"{spare} may fail" if spare else "none may fail"
    return f"etcd: {members} member{'s' * (members > 1)}, {needed} must answer, {lost}"


def _width(boxes: int) -> int:
    return max(min(boxes, _DRAWN), 2) * (_BOX + _GAP) + _GAP


def _placed(nodes: Sequence[Node], width: int) -> list[tuple[Node, int]]:
    shown = nodes[:_DRAWN]
    left = (width - len(shown) * (_BOX + _GAP) + _GAP) // 2
    return [(node, left + number * (_BOX + _GAP)) for number, node in enumerate(shown)]


def _endpoint(name: str, width: int) -> Markup:
    return Markup(
        '<rect class="topology-endpoint" x="{}" y="4" width="280" height="{}" rx="8"/>'
        '<text class="topology-name" x="{}" y="{}">{}</text>'
    ).format(width // 2 - 140, _TOP - 8, width // 2, _TOP - 15, name)


def _lines(rows: Sequence[_Row], width: int) -> list[Markup]:
    """From the endpoint to each control plane, and from each of those to each member behind them."""
    ends = [(width // 2, _TOP - 4)]
    lines = []
    for row in rows:
        middles = [x + _BOX // 2 for _, x in _placed(row.nodes, width)]
        lines += [
            Markup('<path class="topology-line" d="M{} {}C{} {} {} {} {} {}"/>').format(
                x, y, x, y + 20, middle, row.y - 20, middle, row.y
            )
            for x, y in ends
            for middle in middles
        ]
        ends = [(middle, row.y + _HEIGHT) for middle in middles]
    return lines


def _box(node: Node, x: int, row: _Row, cluster: str) -> Markup:
    holds = f"{row.label} + etcd" if row.has_etcd and row.label != "etcd" else row.label
    return Markup(
        '<g><title>{}: {}</title><rect class="topology-node" x="{}" y="{}" width="{}" height="{}" rx="6"/>'
        '<circle class="fill-{}" cx="{}" cy="{}" r="5"/><text class="topology-name" x="{}" y="{}">{}</text>'
        '<text class="topology-note" x="{}" y="{}">{}</text></g>'
    ).format(
        node.name,
        node.verdict or node.state,
        x,
        row.y,
        _BOX,
        _HEIGHT,
        _colour(node),
        x + 13,
        row.y + 13,
        x + _BOX // 2,
        row.y + 30,
        _short(node.name.removeprefix(f"{cluster}-")),
        x + _BOX // 2,
        row.y + 47,
        holds,
    )


def _colour(node: Node) -> str:
    if node.verdict == Verdict.HEALTHY:
        return "green"
    return "red" if node.verdict == Verdict.UNREACHABLE else "secondary" if node.verdict is None else "yellow"


def _short(name: str) -> str:
    """As much of a name as a box holds."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
