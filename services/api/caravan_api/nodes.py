"""Record what is told about nodes, many at a time: one query to read, one statement to write, one to count."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import singledispatch
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.nodes import NodeState, further, node_state
from caravan_api.store import Node
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.states import MachineState
from caravan_shared.plumbing.database import upsert

Row = dict[str, Any]
_COLUMNS = tuple(Node.model_fields)
_KEY = ("cluster_id", "name")
_BOOKKEEPING = frozenset({"version_sequence", "verdict_sequence", "held_sequence", "changed_at"})


async def record_nodes(tx: AsyncSession, cluster_id: UUID, event: Event, sequence: int, now: datetime) -> Sequence[Any]:
    """Write what `event` tells of nodes, and return those of its nodes that it told something new about."""
    told: Sequence[Any] = getattr(event, "nodes", ())
    if not isinstance(told, tuple) or not told:
        return ()
    before = await _rows(tx, cluster_id, [node.name for node in told])
    after = {node.name: _advance(before.get(node.name), cluster_id, event, node, sequence, now) for node in told}
    changed = [row for name, row in after.items() if row != before.get(name)]
    await upsert(tx, Node, changed, key=_KEY, update=[name for name in _COLUMNS if name not in _KEY])
    return [node for node in told if _is_news(before.get(node.name), after[node.name])]


async def forget_removed(tx: AsyncSession, cluster_id: UUID, before: datetime) -> None:
    """Drop tombstones from before that moment: no fact is that late."""
    removed = (col(Node.state) == NodeState.REMOVED.value, col(Node.changed_at) < before)
    await tx.exec(delete(Node).where(col(Node.cluster_id) == cluster_id, *removed))


async def forget_all(tx: AsyncSession, cluster_id: UUID) -> Sequence[Node]:
    """Drop every node of a deleted cluster. Returned are those whose machine's end was overtaken by the cluster's."""
    ended = (MachineState.PLANNED.value, MachineState.REMOVED.value)
    untold = select(Node).where(Node.cluster_id == cluster_id, col(Node.machine).not_in(ended))
    left: Sequence[Node] = (await tx.exec(untold)).all()
    await tx.exec(delete(Node).where(col(Node.cluster_id) == cluster_id))
    return left


async def _rows(tx: AsyncSession, cluster_id: UUID, names: Sequence[str]) -> dict[str, Row]:
    columns = [col(getattr(Node, name)) for name in _COLUMNS]
    statement = select(*columns).where(Node.cluster_id == cluster_id, col(Node.name).in_(names))
    rows = await (await tx.connection()).execute(statement)
    return {row["name"]: dict(row) for row in rows.mappings()}


def _advance(old: Row | None, cluster_id: UUID, event: Event, node: Any, sequence: int, now: datetime) -> Row:
    row = dict(old) if old else _unheard_of(cluster_id, node.name, now)
    row["node_set"] = row["node_set"] or getattr(node, "node_set", "")
    row |= _told(event, node, row, sequence)
    row["state"] = node_state(MachineState(row["machine"]), joined=row["joined"], drained=row["drained"]).value
    if row != old:
        row["changed_at"] = now
    return row


def _unheard_of(cluster_id: UUID, name: str, now: datetime) -> Row:
    blank = Node(
        cluster_id=cluster_id,
        name=name,
        state=NodeState.PLANNED.value,
        machine=MachineState.PLANNED.value,
        changed_at=now,
    )
    return blank.model_dump()


def _is_news(old: Row | None, new: Row) -> bool:
    return old is None or any(new[name] != old[name] for name in _COLUMNS if name not in _BOOKKEEPING)


def _machine(row: Row, state: MachineState) -> Row:
    return {"machine": further(MachineState(row["machine"]), state).value}


@singledispatch
def _told(event: Event, node: Any, row: Row, sequence: int) -> Row:
    """Which columns of a node's row an event sets."""
    raise TypeError(f"{type(event).__name__} tells nothing of nodes that is kept")


_on: Callable[..., Any] = _told.register


@_on
def _(_event: e.NodesCreating, _node: Any, row: Row, _sequence: int) -> Row:
    return _machine(row, MachineState.CREATING)


@_on
def _(_event: e.NodesReady, node: Any, row: Row, _sequence: int) -> Row:
    return {**_machine(row, MachineState.READY), "machine_id": node.machine_id, "address": node.address}


@_on
def _(_event: e.NodesFailed, node: Any, row: Row, _sequence: int) -> Row:
    return {**_machine(row, MachineState.FAILED), "reason": node.reason}


@_on
def _(_event: e.NodesLeaving, _node: Any, row: Row, _sequence: int) -> Row:
    return {**_machine(row, MachineState.LEAVING), "held": None}


@_on
def _(_event: e.NodesRemoved, _node: Any, row: Row, _sequence: int) -> Row:
    return {**_machine(row, MachineState.REMOVED), "held": None}


@_on
def _(_event: e.NodesRepairHeld, node: Any, row: Row, sequence: int) -> Row:
    is_out = MachineState(row["machine"]) in (MachineState.LEAVING, MachineState.REMOVED)
    if is_out or sequence <= row["held_sequence"]:
        return {}
    return {"held": node.reason or None, "held_sequence": sequence}


@_on
def _(event: e.NodesJoined, _node: Any, row: Row, sequence: int) -> Row:
    if sequence <= row["version_sequence"]:
        return {"joined": True}
    return {"joined": True, "version": event.version, "version_sequence": sequence}


@_on
def _(_event: e.NodesDrained, _node: Any, _row: Row, _sequence: int) -> Row:
    return {"drained": True}


@_on
def _(_event: e.NodesHealthChanged, node: Any, row: Row, sequence: int) -> Row:
    if sequence <= row["verdict_sequence"]:
        return {}
    return {"verdict": node.verdict.value, "verdict_reason": node.reason, "verdict_sequence": sequence}
