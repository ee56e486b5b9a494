"""One node's state: the furthest that was told, whatever the order."""

import itertools

import pytest

from caravan_api.decide.nodes import PROGRESS, NodeState, further, node_state, role_of
from caravan_shared.contracts.states import MACHINE_MOVES, MachineState


def test_progress_is_an_order_that_the_moves_allow() -> None:
    for earlier, later in itertools.combinations(PROGRESS, 2):
        assert earlier not in MACHINE_MOVES[later]


@pytest.mark.parametrize(
    "told", list(itertools.permutations([MachineState.CREATING, MachineState.READY, MachineState.LEAVING]))
)
def test_the_furthest_state_wins_in_any_order(told: tuple[MachineState, ...]) -> None:
    state = MachineState.PLANNED
    for each in (*told, *told):
        state = further(state, each)
    assert state is MachineState.LEAVING


@pytest.mark.parametrize(
    ("machine", "joined", "drained", "state"),
    [
        ("Planned", False, False, NodeState.PLANNED),
        ("Creating", False, False, NodeState.CREATING),
        ("Ready", False, False, NodeState.MADE),
        ("Planned", True, False, NodeState.JOINED),
        ("Ready", True, False, NodeState.JOINED),
        ("Failed", True, False, NodeState.FAILED),
        ("Ready", True, True, NodeState.LEAVING),
        ("Leaving", True, False, NodeState.LEAVING),
        ("Removed", True, True, NodeState.REMOVED),
    ],
)
def test_one_word_for_machine_and_membership(machine: str, joined: bool, drained: bool, state: NodeState) -> None:
    assert node_state(MachineState(machine), joined=joined, drained=drained) is state


def test_reserved_sets_have_roles_of_their_own() -> None:
    assert [role_of(name).value for name in ("control-plane", "etcd", "gpu")] == ["control-plane", "etcd", "worker"]
