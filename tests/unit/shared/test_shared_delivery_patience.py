"""How long a failing delivery is tried."""

import pytest

from caravan_shared.plumbing.delivery import Patience


@pytest.mark.parametrize(("tries", "about_s"), [(1, 1.0), (2, 2.0), (5, 16.0), (9, 120.0), (10_000, 120.0)])
def test_delays_double_up_to_the_longest_with_a_quarter_of_jitter(tries: int, about_s: float) -> None:
    for _ in range(50):
        assert 0.75 * about_s <= Patience().delay_s(tries) <= 1.25 * about_s


def test_defect_becomes_a_dead_letter_within_a_quarter_of_an_hour() -> None:
    patience = Patience()
    assert sum(patience.delay_s(tries) for tries in range(1, patience.tries)) < 15 * 60
