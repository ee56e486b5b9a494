"""Plans: nodes, quota and time, before anything is done."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_api.plan import plan
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.facts import CloudQuota
from caravan_shared.contracts.spec import ClusterSpec

OFFER = CloudOffered.model_validate(CloudOffered.example)
OFFERS = {OFFER.cloud: OFFER}


def spec(**changes: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({**ClusterSpec.example, **changes})


def test_creation_creates_every_node() -> None:
    answer = plan("create", None, spec(), OFFERS)
    assert [(each.name, each.create, each.remove) for each in answer.node_sets] == [
        ("control-plane", 1, 0),
        ("workers", 2, 0),
    ]
    assert (answer.create, answer.remove, answer.quota.need, answer.quota.fits) == (3, 0, 3, True)
    assert answer.estimate_s > OFFER.seconds_to_boot
    assert answer.simulated


def test_change_names_sets_that_grow_shrink_come_and_go() -> None:
    before = spec(workers=[{"name": "a", "count": 4}, {"name": "b", "count": 2}])
    after = spec(workers=[{"name": "a", "count": 1, "labels": {"x": "y"}}, {"name": "c", "count": 5}])
    sets = {each.name: each for each in plan("change", before, after, OFFERS).node_sets}
    assert (sets["a"].remove, sets["b"].remove, sets["c"].create) == (3, 2, 5)
    assert sets["a"].change == ["labels: on nodes made from now on"]


def test_upgrade_is_named_and_takes_its_time() -> None:
    answer = plan("change", spec(version="1.33.6"), spec(), OFFERS, ("1.33.6", "1.34.2"))
    assert answer.upgrade == "1.33.6 → 1.34.2"
    assert answer.estimate_s == 180


def test_upgrade_of_several_minors_tells_each_hop_and_takes_the_time_of_all() -> None:
    answer = plan("change", spec(version="1.32.9"), spec(), OFFERS, ("1.32.9", "1.33.6", "1.34.2"))
    assert answer.upgrade == "1.32.9 → 1.33.6 → 1.34.2"
    assert answer.estimate_s == 360


def test_plan_for_a_paused_cluster_says_that_nothing_will_be_done() -> None:
    assert plan("change", spec(), spec(paused=True), OFFERS).paused
    assert not plan("change", spec(paused=True), spec(), OFFERS).paused


def test_deletion_removes_every_node() -> None:
    answer = plan("delete", spec(), None, {})
    assert (answer.create, answer.remove) == (0, 3)


def test_quota_that_does_not_fit_is_told() -> None:
    short = OFFER.model_copy(update={"quota": OFFER.quota.model_copy(update={"machines_limit": 5, "machines_used": 4})})
    quota = plan("create", None, spec(), {short.cloud: short}).quota
    assert (quota.need, quota.free, quota.fits) == (3, 1, False)


_counts = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), max_size=4)


@settings(max_examples=100)
@given(before=_counts, after=_counts)
def test_following_a_plan_leads_to_what_is_wanted(before: dict[str, int], after: dict[str, int]) -> None:
    old, new = (spec(workers=[{"name": n, "count": c} for n, c in counts.items()]) for counts in (before, after))
    answer = plan("change", old, new, OFFERS)
    for each in answer.node_sets:
        assert each.current + each.create - each.remove == each.wanted
        assert min(each.create, each.remove) == 0
    assert answer.estimate_s >= 0


def test_every_cloud_has_its_own_quota_and_the_one_that_does_not_fit_is_told_first() -> None:
    metal = OFFER.model_copy(
        update={"cloud": "metal", "simulated": False, "quota": CloudQuota(machines_limit=3, machines_used=2)}
    )
    mixed = spec(workers=[{"name": "a", "count": 2, "cloud": "metal"}, {"name": "b", "count": 4}])
    answer = plan("create", None, mixed, {"sandbox": OFFER, "metal": metal})
    assert [(each.cloud, each.need, each.fits) for each in answer.quotas] == [("sandbox", 5, True), ("metal", 2, False)]
    assert answer.quota.cloud == "metal"
    assert {each.name: each.cloud for each in answer.node_sets} == {
        "control-plane": "sandbox",
        "a": "metal",
        "b": "sandbox",
    }
