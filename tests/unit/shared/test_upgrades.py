"""The way between two Kubernetes versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan_shared.contracts.spec import minor_of
from caravan_shared.contracts.upgrades import GapInVersions, hops, version_key

OFFERED = ("1.34.2", "1.34.1", "1.33.6", "1.33.10", "1.32.9")


@pytest.mark.parametrize(
    ("current", "wanted", "way"),
    [
        ("1.34.2", "1.34.2", []),
        ("1.34.1", "1.34.2", ["1.34.2"]),
        ("1.33.6", "1.34.1", ["1.34.1"]),
        ("1.32.9", "1.34.1", ["1.33.10", "1.34.1"]),
        ("1.31.4", "1.34.2", ["1.32.9", "1.33.10", "1.34.2"]),
        ("1.34.2", "1.33.6", []),
    ],
)
def test_way_leads_through_the_highest_patch_of_every_minor_between(current: str, wanted: str, way: list[str]) -> None:
    assert hops(current, wanted, OFFERED) == way


@pytest.mark.parametrize(("current", "wanted"), [("1.30.1", "1.34.2"), ("0.0.0", "1.34.2"), ("1.34.2", "2.0.0")])
def test_minor_of_which_nothing_is_offered_is_named(current: str, wanted: str) -> None:
    with pytest.raises(GapInVersions, match=r"no \d+\.\d+ version is offered"):
        hops(current, wanted, OFFERED)


versions = st.builds("1.{}.{}".format, st.integers(30, 36), st.integers(0, 12))


@given(current=versions, wanted=versions, offered=st.lists(versions, max_size=30))
def test_no_hop_skips_a_minor_or_goes_back(current: str, wanted: str, offered: list[str]) -> None:
    between = range(minor_of(current)[1] + 1, minor_of(wanted)[1])
    if not {(1, minor) for minor in between} <= set(map(minor_of, offered)):
        with pytest.raises(GapInVersions):
            hops(current, wanted, offered)
        return
    way = hops(current, wanted, offered)
    for before, after in zip([current, *way], way, strict=False):
        assert version_key(before) < version_key(after)
        assert minor_of(after)[1] - minor_of(before)[1] <= 1
    if version_key(current) < version_key(wanted):
        assert way[-1] == wanted
        assert set(way[:-1]) <= set(offered)
