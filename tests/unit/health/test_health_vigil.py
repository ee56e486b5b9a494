"""The beat of a cluster's ordinary looks."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_health.target import Target
from caravan_health.verdict import unasked
from caravan_health.vigil import Vigil

ROUND_S = 5.0
VIGIL = Vigil(Target(uuid4(), 1, "api.example", 6443, ("10.0.0.1",), ""), unasked(datetime(2026, 1, 1, tzinfo=UTC)), {})


@pytest.mark.parametrize(("started", "follows"), [(7.0, 12.0), (8.5, 12.0), (11.5, 12.0), (13.0, 17.0)])
def test_look_that_came_late_or_out_of_turn_moves_no_other(started: float, follows: float) -> None:
    assert replace(VIGIL, beat=2.0).on_the_beat(started + ROUND_S, ROUND_S) == follows


@given(beat=st.floats(0, 1e6), started=st.floats(0, 1e6))
def test_no_look_waits_longer_than_a_round(beat: float, started: float) -> None:
    follows = replace(VIGIL, beat=beat).on_the_beat(started + ROUND_S, ROUND_S)
    assert started <= follows <= started + ROUND_S
