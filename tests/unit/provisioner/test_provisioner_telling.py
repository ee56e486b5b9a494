"""What the others are told about nodes."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from caravan_provisioner.nodes import Node
from caravan_provisioner.telling import CHUNK, Telling, events, is_untold, told, untold
from caravan_shared.contracts.events import NodesCreating, NodesFailed, NodesReady, NodesRemoved, NodesRepairHeld
from caravan_shared.contracts.facts import Connection, WhoCanFix
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState

CLUSTER = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TELLING = Telling(CLUSTER, 1, Connection.SANDBOX, frozenset(), remaining=0)


def nodes(count: int, state: MachineState, node_set: str = "workers") -> list[Node]:
    node = Node(CLUSTER, "", node_set, Role.WORKER, "k3x9", 1, "medium", NOW, state, NOW)
    known = replace(node, machine_id="m", address="127.64.0.1", reason="no host", who_can_fix=WhoCanFix.OPERATOR)
    return [replace(known, name=f"demo-{node_set}-k3x9-{n}", number=n) for n in range(1, count + 1)]


def test_many_nodes_are_told_in_chunks_and_only_the_last_says_complete() -> None:
    said = events(nodes(2 * CHUNK + 1, MachineState.READY), replace(TELLING, complete=True))
    assert all(isinstance(event, NodesReady) for event in said)
    assert [(len(event.nodes), event.complete) for event in said if isinstance(event, NodesReady)] == [
        (CHUNK, False),
        (CHUNK, False),
        (1, True),
    ]


def test_generation_that_needed_no_new_node_is_still_told_complete() -> None:
    (said,) = events([], replace(TELLING, complete=True, say_complete=True))
    assert isinstance(said, NodesReady)
    assert (said.nodes, said.complete) == ((), True)
    assert events([], replace(TELLING, complete=True)) == []


def test_ready_control_plane_is_told_with_the_load_balancer_before_it() -> None:
    (said,) = events([replace(node, virtual_ip="10.0.0.100") for node in nodes(1, MachineState.READY)], TELLING)
    assert isinstance(said, NodesReady)
    assert [node.virtual_ip for node in said.nodes] == ["10.0.0.100"]


def test_failed_nodes_are_told_apart_by_whether_their_set_gave_up() -> None:
    failed = [*nodes(1, MachineState.FAILED, "workers"), *nodes(1, MachineState.FAILED, "batch")]
    said = events(failed, replace(TELLING, gave_up_sets=frozenset({"batch"})))
    assert [
        (event.gave_up, node.node_set, node.will_be_replaced)
        for event in said
        if isinstance(event, NodesFailed)
        for node in event.nodes
    ] == [(False, "workers", True), (True, "batch", False)]


def test_nothing_left_is_told_even_if_nothing_was_there() -> None:
    (said,) = events([], replace(TELLING, say_remaining=True))
    assert isinstance(said, NodesRemoved)
    assert (said.remaining, said.nodes) == (0, ())


def test_each_state_is_told_once_and_inner_ones_never() -> None:
    for state in MachineState:
        (node,) = nodes(1, state)
        assert is_untold(node) is (state not in (MachineState.PLANNED, MachineState.DELETING))
        assert not is_untold(told(node))


def test_machines_are_told_as_asked_for_before_others_as_ready() -> None:
    said = events([*nodes(1, MachineState.READY), *nodes(1, MachineState.CREATING)], TELLING)
    assert [type(event) for event in said] == [NodesCreating, NodesReady]


def test_reason_that_holds_a_node_is_told_once_again_when_asked_and_when_it_is_gone() -> None:
    (node,) = nodes(1, MachineState.READY)
    node = told(node)
    assert not is_untold(node)
    held = replace(node, held="the cluster is paused")
    assert reasons(held) == ["the cluster is paused"]
    assert reasons(untold(told(held))) == ["the cluster is paused"]
    free = replace(told(held), held=None)
    assert reasons(free) == reasons(replace(untold(told(held)), held=None)) == [""]
    assert reasons(told(free)) == []
    assert reasons(untold(told(free))) == []


def reasons(node: Node) -> list[str]:
    said = events([node], TELLING) if is_untold(node) else []
    return [held.reason for event in said if isinstance(event, NodesRepairHeld) for held in event.nodes]
