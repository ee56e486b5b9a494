"""Whose turn it is at a pool's spares: teams get equally many, whoever came first goes first, quotas hold."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_api.decide.turns import Quotas, Shares, Turns, Waiter, turns

TEAMS, HOLDERS = "abc", ("ann", "bob")
a_queue = st.lists(
    st.builds(Waiter, lease_id=st.uuids(version=4), team=st.sampled_from(TEAMS), holder=st.sampled_from(HOLDERS)),
    max_size=20,
    unique_by=lambda each: each.lease_id,
)
some_shares = st.builds(
    Shares,
    of_teams=st.dictionaries(st.sampled_from(TEAMS), st.integers(0, 5)),
    of_holders=st.dictionaries(st.tuples(st.sampled_from(TEAMS), st.sampled_from(HOLDERS)), st.integers(0, 5)),
)
some_quotas = st.builds(Quotas, st.none() | st.integers(1, 6), st.none() | st.integers(1, 6))


def queue(*waiters: str) -> list[Waiter]:
    """`a/ann` is Ann of team a."""
    return [Waiter(UUID(int=number), *each.split("/")) for number, each in enumerate(waiters)]


def served(found: Turns) -> list[str]:
    return [f"{each.team}/{each.holder}" for each in found.served]


@pytest.mark.parametrize(
    ("waiters", "has", "expected"),
    [
        (["a/ann", "b/bob", "a/bob"], {}, ["a/ann", "b/bob", "a/bob"]),
        (["a/ann", "a/bob", "b/bob"], {}, ["a/ann", "b/bob", "a/bob"]),
        (["a/ann", "a/bob", "b/bob", "b/ann"], {"a": 1}, ["b/bob", "a/ann", "b/ann", "a/bob"]),
        (["a/ann", "b/bob", "c/ann"], {"a": 2, "b": 1}, ["c/ann", "b/bob", "a/ann"]),
    ],
)
def test_the_team_that_has_the_fewest_is_next_and_of_equals_whoever_came_first(
    waiters: list[str], has: dict[str, int], expected: list[str]
) -> None:
    assert served(turns(queue(*waiters), Shares(has), Quotas())) == expected


def test_who_has_as_many_as_one_may_is_passed_over_by_name_and_team() -> None:
    shares = Shares({"a": 1}, {("a", "ann"): 1})
    found = turns(queue("a/ann", "a/bob", "b/ann"), shares, Quotas(per_holder=1))
    assert served(found) == ["b/ann", "a/bob"]
    assert [each.holder for each in found.passed_over] == ["ann"]
    assert [found.position(UUID(int=number)) for number in range(3)] == [3, 2, 1]
    assert found.position(uuid4()) == 4


@given(a_queue, some_shares, some_quotas)
def test_everybody_has_one_place(waiters: Sequence[Waiter], shares: Shares, quotas: Quotas) -> None:
    found = turns(waiters, shares, quotas)
    places = sorted(found.position(each.lease_id) for each in waiters)
    assert places == list(range(1, len(waiters) + 1))


@given(a_queue, some_shares, some_quotas)
def test_each_turn_is_of_a_team_that_has_fewest_of_those_that_may(
    waiters: Sequence[Waiter], shares: Shares, quotas: Quotas
) -> None:
    """The order is what serving one after the other, deciding anew each time, comes to."""
    has, holds, left = Counter(shares.of_teams), Counter(shares.of_holders), list(waiters)
    order = []
    while may := [each for each in left if quotas.allow(Shares(has, holds), each.team, each.holder)]:
        fewest = min(has[each.team] for each in may)
        first = next(each for each in may if has[each.team] == fewest)
        order.append(first)
        left.remove(first)
        has[first.team] += 1
        holds[first.team, first.holder] += 1
    assert turns(waiters, shares, quotas) == Turns(order, left)


@given(a_queue, some_shares)
def test_within_a_team_whoever_came_first_goes_first(waiters: Sequence[Waiter], shares: Shares) -> None:
    found = turns(waiters, shares, Quotas())
    for team in TEAMS:
        assert [each for each in found.served if each.team == team] == [each for each in waiters if each.team == team]


@given(a_queue, some_shares, some_quotas)
def test_nobody_gets_more_than_the_quotas_allow(waiters: Sequence[Waiter], shares: Shares, quotas: Quotas) -> None:
    got = Counter(each.team for each in turns(waiters, shares, quotas).served)
    for team, more in got.items():
        assert quotas.per_team is None or shares.of_teams.get(team, 0) + more <= quotas.per_team
