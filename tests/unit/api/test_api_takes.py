"""Who of those that come together gets a spare: first come first, nobody overtakes, quotas hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_api.decide.takes import Fate, Taker, fates
from caravan_api.decide.turns import Quotas, Shares

TEAMS, HOLDERS = "ab", ("ann", "bob")
SERVED, QUEUED, NOT_NOW, TEAM_FULL = Fate.SERVED, Fate.QUEUED, Fate.NOT_NOW, Fate.TEAM_FULL
NO_LIMIT = dict.fromkeys(TEAMS)

some_takers = st.lists(
    st.builds(Taker, st.sampled_from(TEAMS), st.sampled_from(HOLDERS), waits=st.booleans()), max_size=12
)
some_shares = st.builds(
    Shares,
    of_teams=st.dictionaries(st.sampled_from(TEAMS), st.integers(0, 4)),
    of_holders=st.dictionaries(st.tuples(st.sampled_from(TEAMS), st.sampled_from(HOLDERS)), st.integers(0, 4)),
)
some_quotas = st.builds(Quotas, st.none() | st.integers(1, 5), st.none() | st.integers(1, 5))
some_left = st.fixed_dictionaries(dict.fromkeys(TEAMS, st.none() | st.integers(0, 5)))


def takers(*who: str) -> list[Taker]:
    """`a/ann` is Ann of team a; with a `!` she does not wait."""
    parts = [each.rstrip("!").partition("/") for each in who]
    return [Taker(team, holder, not each.endswith("!")) for (team, _, holder), each in zip(parts, who, strict=True)]


@pytest.mark.parametrize(
    ("who", "spares", "expected"),
    [
        (["a/ann", "b/bob", "a/bob"], 3, [SERVED, SERVED, SERVED]),
        (["a/ann", "b/bob", "a/bob"], 2, [SERVED, SERVED, QUEUED]),
        (["a/ann", "b/bob!", "a/bob"], 1, [SERVED, NOT_NOW, QUEUED]),
        (["a/ann!", "b/bob!"], 0, [NOT_NOW, NOT_NOW]),
        ([], 3, []),
    ],
)
def test_spares_go_to_who_came_first_and_the_others_wait_unless_they_will_not(
    who: list[str], spares: int, expected: list[Fate]
) -> None:
    assert fates(takers(*who), spares, Shares(), Quotas(), NO_LIMIT) == expected


def test_whoever_comes_after_one_that_waits_waits_too_although_a_spare_is_ready() -> None:
    found = fates(takers("a/ann", "a/ann", "b/bob", "b/bob!"), 4, Shares(), Quotas(per_team=1), NO_LIMIT)
    assert found == [SERVED, QUEUED, QUEUED, NOT_NOW]


def test_one_at_the_limit_that_does_not_wait_holds_up_nobody() -> None:
    found = fates(takers("a/ann!", "b/bob"), 1, Shares({"a": 1}), Quotas(per_team=1), NO_LIMIT)
    assert found == [NOT_NOW, SERVED]


def test_a_team_has_no_more_leases_than_it_may_those_that_wait_included() -> None:
    found = fates(takers("a/ann", "a/bob", "a/ann", "b/bob"), 1, Shares(), Quotas(), {"a": 2, "b": None})
    assert found == [SERVED, QUEUED, TEAM_FULL, QUEUED]


def test_what_one_was_refused_another_of_the_team_may_have() -> None:
    assert fates(takers("a/ann!", "a/bob"), 0, Shares(), Quotas(), {"a": 1}) == [NOT_NOW, QUEUED]


@given(some_takers, st.integers(0, 12), some_shares, some_quotas, some_left)
def test_all_that_were_claimed_for_those_who_could_have_one_are_handed_out(
    who: list[Taker], ready: int, shares: Shares, quotas: Quotas, left: dict[str, int | None]
) -> None:
    claimed = min(ready, fates(who, len(who), shares, quotas, left).count(SERVED))
    assert fates(who, claimed, shares, quotas, left).count(SERVED) == claimed


@given(some_takers, st.integers(0, 12), some_shares, some_quotas, some_left)
def test_quotas_hold_whoever_comes(
    who: list[Taker], ready: int, shares: Shares, quotas: Quotas, left: dict[str, int | None]
) -> None:
    found = list(zip(who, fates(who, ready, shares, quotas, left), strict=True))
    for team in TEAMS:
        served = sum(taker.team == team for taker, fate in found if fate is SERVED)
        has = sum(taker.team == team for taker, fate in found if fate in (SERVED, QUEUED))
        assert not served or quotas.per_team is None or shares.of_teams.get(team, 0) + served <= quotas.per_team
        limit = left[team]
        assert limit is None or has <= limit
