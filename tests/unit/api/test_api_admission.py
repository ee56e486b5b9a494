"""Admission: every problem of a request at once, each with its field, what is wrong and what would be right."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_api.admission import Current, Limits, NotAdmitted, Surroundings, admit
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec

OFFER = CloudOffered.model_validate(
    {
        **CloudOffered.example,
        "machine_types": [
            {"name": name, "cpus": 2, "memory_mib": 4096, "disk_gib": 40} for name in ("small", "medium", "large")
        ],
        "quota": {"machines_limit": 3000, "machines_used": 10},
    }
)
AROUND = Surroundings(
    versions=("1.35.1", "1.34.2", "1.33.6"), clouds={"sandbox": OFFER}, limits=Limits(2000, max_nodes_per_team=2500)
)
SPEC = ClusterSpec.model_validate(ClusterSpec.example)


def problems(spec: object, around: Surroundings = AROUND, name: object = "demo") -> dict[str, FieldProblem]:
    """The problems of a request, by field."""
    try:
        admit({"name": name, "spec": spec}, around)
    except NotAdmitted as refused:
        return {problem.field: problem for problem in refused.problems}
    return {}


def spec(**changes: object) -> dict[str, Any]:
    return {**ClusterSpec.example, **changes}


def changing(current: Mapping[str, Any], running: str | None = None) -> Surroundings:
    return Surroundings(
        versions=AROUND.versions,
        clouds=AROUND.clouds,
        limits=AROUND.limits,
        current=Current(ClusterSpec.model_validate(current), running),
    )


def test_the_example_spec_is_admitted() -> None:
    assert admit({"name": "demo", "spec": ClusterSpec.example}, AROUND) == SPEC


@pytest.mark.parametrize(
    ("broken", "field", "says"),
    [
        ({"version": "1.99.0"}, "spec.version", "1.99.0 is not offered"),
        ({"cloud": "sandbx"}, "spec.cloud", "no cloud 'sandbx'"),
        ({"control_plane": {"count": 2}}, "spec.control_plane.count", "2 is even"),
        ({"control_plane": {"machine_type": "mediun"}}, "spec.control_plane.machine_type", "no machine type"),
        ({"topology": "external", "etcd": {"count": 4}}, "spec.etcd.count", "4 is even"),
        ({"etcd": {"count": 3}}, "spec.etcd", "stacked topology has its etcd"),
        ({"workers": [{"name": "control-plane"}]}, "spec.workers.0.name", "Caravan makes itself"),
        ({"workers": [{"name": "a"}, {"name": "a"}]}, "spec.workers.1.name", "another worker set"),
        ({"workers": [{"name": "a", "machine_type": "x"}]}, "spec.workers.0.machine_type", "no machine type 'x'"),
        ({"network": {"service_cidr": "10.244.128.0/20"}}, "spec.network.service_cidr", "overlaps the pod range"),
        ({"network": {"pod_cidr": "10.244.0.0/24"}}, "spec.network.pod_cidr", "room for 1 nodes"),
        ({"network": {"pod_cidr": "10.0.0.0/7"}}, "spec.network.pod_cidr", "wider than"),
        ({"network": {"pod_cidr": "10.244.0.1/16"}}, "spec.network.pod_cidr", "not a valid IPv4 network"),
        ({"network": {"pod_cidr": False}}, "spec.network.pod_cidr", "not a valid IP network"),
        ({"network": {"virtual_ip": 1}}, "spec.network.virtual_ip", "not a valid IP address"),
        ({"network": {"pod_cidr": "127.0.0.0/16"}}, "spec.network.pod_cidr", "no host can be given"),
        ({"network": {"service_cidr": "10.96.0.0/30"}}, "spec.network.service_cidr", "too narrow"),
        ({"network": {"service_cidr": "fd00::/112"}}, "spec.network.service_cidr", "IPv6"),
        ({"workers": [{"count": 2500}], "network": {"pod_cidr": "10.128.0.0/9"}}, "spec", "more than"),
        ({"worker": []}, "spec.worker", "no such field"),
        ({"control_plane": {"count": "three"}}, "spec.control_plane.count", "valid integer"),
    ],
)
def test_a_broken_field_is_named_with_what_is_wrong(broken: dict[str, Any], field: str, says: str) -> None:
    found = problems(spec(**broken))
    assert field in found, found
    assert says in found[field].problem
    assert found[field].remedy


def test_every_problem_is_told_at_once_even_beside_malformed_fields() -> None:
    broken = spec(
        version="1.99.0",
        cloudd="sandbox",
        control_plane={"count": 2, "machine_type": 7},
        network={"service_cidr": "10.244.0.0/20"},
    )
    assert set(problems(broken, name="Bad_Name")) == {
        "name",
        "spec.cloudd",
        "spec.control_plane.machine_type",
        "spec.control_plane.count",
        "spec.version",
        "spec.network.service_cidr",
    }


def test_a_repaired_field_adds_no_problem_of_its_own() -> None:
    assert set(problems({"cloud": "sandbox"})) == {"spec.version"}
    assert set(problems(spec(cloud=17))) == {"spec.cloud"}


def test_a_misspelt_name_gets_the_near_ones() -> None:
    found = problems(spec(cloud="sandbx", worker=[]))
    assert "sandbox" in found["spec.cloud"].remedy
    assert "did you mean workers?" in found["spec.worker"].remedy
    assert problems(spec(control_plane={"machine_type": "mediun"}))[
        "spec.control_plane.machine_type"
    ].remedy.startswith("use one of medium")


@pytest.mark.parametrize("name", [None, 7, "", "-a", "a-", "A", "1a", "a" * 33, "a\n", "a\x00", "ä", "\ud800", ["a"]])
def test_what_is_no_dns_label_is_no_name(name: object) -> None:
    assert set(problems(ClusterSpec.example, name=name)) == {"name"}


def test_a_taken_name_is_refused() -> None:
    around = Surroundings(AROUND.versions, AROUND.clouds, AROUND.limits, names_taken=frozenset({"demo"}))
    assert "already" in problems(ClusterSpec.example, around)["name"].problem


def test_the_teams_other_clusters_count() -> None:
    around = Surroundings(AROUND.versions, AROUND.clouds, AROUND.limits, team_nodes=2499)
    assert "at most 1 nodes" in problems(ClusterSpec.example, around)["spec"].remedy


def test_what_a_cloud_can_never_grant_is_refused() -> None:
    tiny = OFFER.model_copy(update={"quota": OFFER.quota.model_copy(update={"machines_limit": 2})})
    around = Surroundings(AROUND.versions, {"sandbox": tiny}, AROUND.limits)
    assert "more than the cloud sandbox grants" in problems(ClusterSpec.example, around)["spec"].problem


@pytest.mark.parametrize(
    ("old", "running", "new", "says"),
    [
        ("1.34.2", "1.34.2", "1.33.6", "cannot go back"),
        ("1.32.9", "1.32.9", "1.31.1", "cannot go back"),
        ("1.31.1", "1.31.1", "1.34.2", "no 1.32 version is offered"),
        ("1.34.2", "1.31.1", "1.35.1", "no 1.32 version is offered"),
        ("1.34.2", "1.34.2", "2.0.0", "no 2.0 version is offered"),
        ("1.34.2", "1.34.2", "1.35.9", "not offered"),
    ],
)
def test_version_that_cannot_be_come_to_is_refused_and_the_missing_minor_named(
    old: str, running: str, new: str, says: str
) -> None:
    found = problems(spec(version=new), changing(spec(version=old), running))
    assert says in found["spec.version"].problem


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.34.2", "1.35.1"), ("1.30.0", "1.30.0"), ("1.33.1", "1.33.6"), ("1.33.6", "1.35.1"), ("1.32.9", "1.35.1")],
)
def test_allowed_version_changes(old: str, new: str) -> None:
    """Several minors at once, too, and staying on a version that is no longer offered."""
    assert not problems(spec(version=new), changing(spec(version=old), old))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cloud": "other"}, "spec.cloud"),
        ({"topology": "external"}, "spec.topology"),
        ({"network": {"cni": "flannel"}}, "spec.network"),
        ({"control_plane": {"machine_type": "large"}}, "spec.control_plane.machine_type"),
        ({"workers": [{"name": "workers", "machine_type": "large"}]}, "spec.workers.0.machine_type"),
    ],
)
def test_what_is_fixed_cannot_change(changes: dict[str, Any], field: str) -> None:
    found = problems(spec(**changes), changing(ClusterSpec.example))
    assert "cannot change" in found[field].problem or "keeps its machine type" in found[field].problem


def test_a_change_needs_no_name() -> None:
    assert not problems(spec(workers=[{"name": "more", "count": 5}]), changing(ClusterSpec.example), name=None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
_fields = st.sampled_from(["version", "cloud", "topology", "control_plane", "etcd", "workers", "network", "x"])


@settings(max_examples=100)
@given(changes=st.dictionaries(_fields, _json, max_size=4), name=_json)
def test_any_shape_is_either_admitted_or_refused_with_problems(changes: dict[str, Any], name: object) -> None:
    found = problems(spec(**changes), name=name)
    if found:
        assert all(problem.field and problem.problem and problem.remedy for problem in found.values())
    else:
        admitted = admit({"name": name, "spec": spec(**changes)}, AROUND)
        assert ClusterSpec.model_validate(admitted.model_dump(mode="json")) == admitted


@settings(max_examples=50)
@given(raw=_json)
def test_what_is_no_object_is_no_spec(raw: object) -> None:
    if not isinstance(raw, dict):
        assert set(problems(raw)) == {"spec"}


METAL = OFFER.model_copy(
    update={
        "cloud": "metal",
        "machine_types": tuple(kind for kind in OFFER.machine_types if kind.name == "large"),
        "quota": OFFER.quota.model_copy(update={"machines_limit": 3}),
    }
)


def test_each_set_is_judged_by_its_own_cloud() -> None:
    around = replace(AROUND, clouds={"sandbox": OFFER, "metal": METAL})
    workers = [
        {"name": "good", "count": 1, "machine_type": "large", "cloud": "metal"},
        {"name": "type", "count": 1, "machine_type": "small", "cloud": "metal"},
        {"name": "nowhere", "count": 1, "machine_type": "small", "cloud": "mettal"},
        {"name": "many", "count": 2, "machine_type": "large", "cloud": "metal"},
    ]
    found = problems(spec(workers=workers), around)
    assert set(found) == {"spec.workers.1.machine_type", "spec.workers.2.cloud", "spec"}
    assert "the cloud metal has no machine type 'small'" in found["spec.workers.1.machine_type"].problem
    assert "metal" in found["spec.workers.2.cloud"].remedy
    assert "4 nodes are more than the cloud metal grants" in found["spec"].problem


def test_simulated_and_real_machines_cannot_share_a_cluster() -> None:
    around = replace(AROUND, clouds={"sandbox": OFFER, "metal": METAL.model_copy(update={"simulated": False})})
    mixed = [{"name": "workers", "count": 1, "machine_type": "large", "cloud": "metal"}]
    assert set(problems(spec(workers=mixed), around)) == {"spec.workers.0.cloud"}


def test_set_stays_on_its_cloud() -> None:
    around = replace(changing(spec()), clouds={"sandbox": OFFER, "metal": METAL})
    moved = [{"name": "workers", "count": 2, "machine_type": "medium", "cloud": "metal"}]
    found = problems(spec(workers=moved), around)
    assert "a set stays where it is" in found["spec.workers.0.cloud"].problem
    named = [{"name": "workers", "count": 2, "machine_type": "medium", "cloud": "sandbox"}]
    assert problems(spec(workers=named), around) == {}, "to name the cloud that it is on changes nothing"
