"""Turn what changed about nodes into events. Pure: `store` writes them together with the change."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from caravan_provisioner.nodes import Node
from caravan_shared.contracts.events import (
    NodesCreating,
    NodesFailed,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
    NodesRepairHeld,
)
from caravan_shared.contracts.facts import Connection, Event, FailedNode, HeldNode, NodeRef, ReadyNode
from caravan_shared.contracts.states import MachineState

CHUNK = 200  # nodes an event; keeps every message far below the bus's 1 MiB

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Telling:
    """What the events of one step have in common."""

    cluster_id: UUID
    generation: int
    connection: Connection
    gave_up_sets: frozenset[str]
    remaining: int
    """Machines of the cluster that the cloud still has."""
    complete: bool = False
    """Every wanted node is Ready; the last `nodes.ready` says so."""
    say_complete: bool = False
    """It has to be said even if no node became Ready just now."""
    say_remaining: bool = False
    """`remaining` has to be said even if no node was removed just now."""


def is_untold(node: Node) -> bool:
    """Whether the node is in a state that the others have to hear of and have not."""
    return _is_news(node) or node.held != node.said_held


def told(node: Node) -> Node:
    """The node, marked as told."""
    return replace(node, said=node.state if node.state in _TOLD else node.said, said_held=node.held)


def untold(node: Node) -> Node:
    """The node, to be told again; that nothing holds it any more is news only where something did."""
    return replace(node, said=None, said_held=None if node.said_held is None else "")


def _is_news(node: Node) -> bool:
    return node.state is not node.said and node.state in _TOLD


def events(nodes: Iterable[Node], telling: Telling) -> list[Event]:
    """The events about these untold nodes, in chunks, in the order in which states follow each other."""
    nodes = list(nodes)
    by_state: dict[MachineState, list[Node]] = {state: [] for state in _TOLD}
    for node in filter(_is_news, nodes):
        by_state[node.state].append(node)
    return [
        *_creating(by_state[MachineState.CREATING], telling),
        *_failed(by_state[MachineState.FAILED], telling),
        *_leaving(by_state[MachineState.LEAVING], telling),
        *_removed(by_state[MachineState.REMOVED], telling),
        *_ready(by_state[MachineState.READY], telling),
        *_held([node for node in nodes if node.held != node.said_held], telling),
    ]


_TOLD = (
    MachineState.CREATING,
    MachineState.READY,
    MachineState.FAILED,
    MachineState.LEAVING,
    MachineState.REMOVED,
)


def _creating(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    for chunk in _chunks(nodes):
        yield NodesCreating(cluster_id=telling.cluster_id, generation=telling.generation, nodes=_refs(chunk))


def _ready(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    chunks = _chunks(nodes)
    if not chunks and telling.complete and telling.say_complete:
        chunks = [()]
    for number, chunk in enumerate(chunks, start=1):
        yield NodesReady(
            cluster_id=telling.cluster_id,
            generation=telling.generation,
            complete=telling.complete and number == len(chunks),
            nodes=tuple(_ready_node(node, telling.connection) for node in chunk),
        )


def _failed(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    for gave_up in (False, True):
        for chunk in _chunks([node for node in nodes if (node.node_set in telling.gave_up_sets) is gave_up]):
            yield NodesFailed(
                cluster_id=telling.cluster_id,
                generation=telling.generation,
                gave_up=gave_up,
                nodes=tuple(_failed_node(node, will_be_replaced=not gave_up) for node in chunk),
            )


def _leaving(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    for chunk in _chunks(nodes):
        yield NodesLeaving(cluster_id=telling.cluster_id, nodes=_refs(chunk))


def _held(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    for chunk in _chunks(nodes):
        held = tuple(HeldNode(name=node.name, node_set=node.node_set, reason=node.held or "") for node in chunk)
        yield NodesRepairHeld(cluster_id=telling.cluster_id, nodes=held)


def _removed(nodes: Sequence[Node], telling: Telling) -> Iterator[Event]:
    for chunk in _chunks(nodes) or ([()] if telling.say_remaining else []):
        yield NodesRemoved(cluster_id=telling.cluster_id, remaining=telling.remaining, nodes=_refs(chunk))


def _chunks(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]


def _refs(nodes: Sequence[Node]) -> tuple[NodeRef, ...]:
    return tuple(NodeRef(name=node.name, node_set=node.node_set) for node in nodes)


def _ready_node(node: Node, connection: Connection) -> ReadyNode:
    assert node.machine_id
    assert node.address
    return ReadyNode(
        name=node.name,
        node_set=node.node_set,
        role=node.role,
        machine_id=node.machine_id,
        address=node.address,
        connection=connection,
        joins_by_itself=node.joins_by_itself,
        host_keys=node.host_keys,
        ssh_port=node.ssh_port,
        virtual_ip=node.virtual_ip,
    )


def _failed_node(node: Node, *, will_be_replaced: bool) -> FailedNode:
    assert node.reason
    assert node.who_can_fix
    return FailedNode(
        name=node.name,
        node_set=node.node_set,
        reason=node.reason,
        who_can_fix=node.who_can_fix,
        will_be_replaced=will_be_replaced,
    )
