"""The transition tables: closed over their enums, and without a way out of the end."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_shared.contracts.states import (
    CLUSTER_MOVES,
    MACHINE_MOVES,
    MEMBERSHIP_MOVES,
    ClusterPhase,
    IllegalMove,
    MachineState,
    MembershipState,
    move,
)

Moves = Mapping[Any, frozenset[Any]]
TABLES: list[tuple[type[StrEnum], Moves, StrEnum, StrEnum]] = [
    (ClusterPhase, CLUSTER_MOVES, ClusterPhase.REQUESTED, ClusterPhase.DELETED),
    (MachineState, MACHINE_MOVES, MachineState.PLANNED, MachineState.REMOVED),
    (MembershipState, MEMBERSHIP_MOVES, MembershipState.WAITING, MembershipState.DRAINED),
]
every_table = pytest.mark.parametrize(
    ("states", "moves", "first", "last"), TABLES, ids=lambda at: getattr(at, "__name__", "")
)


def reachable(moves: Moves, start: StrEnum) -> set[StrEnum]:
    found, left = {start}, [start]
    while left:
        new = moves[left.pop()] - found
        found |= new
        left.extend(new)
    return found


@every_table
def test_table_is_closed_over_its_states(states: type[StrEnum], moves: Moves, first: StrEnum, last: StrEnum) -> None:
    assert set(moves) == set(states)
    assert all(new in states for targets in moves.values() for new in targets)
    assert all(old not in targets for old, targets in moves.items())


@every_table
def test_every_state_is_reached_from_the_first(
    states: type[StrEnum], moves: Moves, first: StrEnum, last: StrEnum
) -> None:
    assert reachable(moves, first) == set(states)


@every_table
def test_end_is_reached_from_every_state_and_never_left(
    states: type[StrEnum], moves: Moves, first: StrEnum, last: StrEnum
) -> None:
    assert all(last in reachable(moves, state) for state in states)
    assert moves[last] == frozenset()


def test_every_cluster_phase_but_the_last_may_be_deleted() -> None:
    for phase, targets in CLUSTER_MOVES.items():
        assert ClusterPhase.DELETING in targets or phase in (ClusterPhase.DELETING, ClusterPhase.DELETED)


@given(table=st.sampled_from(TABLES), data=st.data())
def test_move_goes_where_the_table_says_and_nowhere_else(
    table: tuple[type[StrEnum], Moves, StrEnum, StrEnum], data: st.DataObject
) -> None:
    states, moves, _, _ = table
    old, new = data.draw(st.sampled_from(list(states))), data.draw(st.sampled_from(list(states)))
    if new == old or new in moves[old]:
        assert move(moves, old, new) is new
    else:
        with pytest.raises(IllegalMove, match=f"from {old} to {new}"):
            move(moves, old, new)
