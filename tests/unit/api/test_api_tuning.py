"""Tuning at the doors: contradictory overrides are refused, and a plan shows what holds and what would be wise."""

from typing import Any

import pytest

from caravan_api.admission import Current, Limits, NotAdmitted, Surroundings, admit
from caravan_api.advice import advice
from caravan_api.plan import plan
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.tuning import Tuning

OFFER = CloudOffered.model_validate(
    {
        **CloudOffered.example,
        "machine_types": [{"name": "medium", "cpus": 2, "memory_mib": 4096, "disk_gib": 40}],
        "quota": {"machines_limit": None, "machines_used": 0},
    }
)
EXTERNAL: dict[str, Any] = {"topology": "external", "control_plane": {"count": 3}}
STACKED = {"control_plane": {"count": 3}}
FLANNEL = {"network": {"cni": "flannel"}}


def request(workers: int = 2, tuning: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {**ClusterSpec.example, "workers": [{"count": workers}], "tuning": tuning, **fields}


def around(current: dict[str, Any] | None = None) -> Surroundings:
    made = Current(ClusterSpec.model_validate(current), "1.34.2") if current else None
    return Surroundings(versions=("1.34.2",), clouds={"sandbox": OFFER}, limits=Limits(6000), current=made)


def admitted(spec: dict[str, Any], current: dict[str, Any] | None = None) -> ClusterSpec:
    return admit({"name": "demo", "spec": spec}, around(current))


def problems(spec: dict[str, Any], current: dict[str, Any] | None = None) -> dict[str, str]:
    try:
        admitted(spec, current)
    except NotAdmitted as refused:
        return {problem.field.removeprefix("spec.tuning."): problem.problem for problem in refused.problems}
    return {}


@pytest.mark.parametrize(
    ("fields", "tuning", "field", "says"),
    [
        (STACKED, {"separate_events_etcd": True}, "separate_events_etcd", "stacked topology has none"),
        (STACKED, {"cilium_etcd": True}, "cilium_etcd", "stacked topology has none"),
        ({**EXTERNAL, **FLANNEL}, {"cilium_etcd": True}, "cilium_etcd", "pod network is flannel"),
        (FLANNEL, {"kube_proxy_mode": "none"}, "kube_proxy_mode", "does not carry Services"),
        ({}, {"apiserver_goaway_chance": 0.001}, "apiserver_goaway_chance", "one kube-apiserver"),
        ({}, {"kubelet_max_pods": 300}, "kubelet_max_pods", "253 addresses"),
        ({}, {"kubelet_node_lease_duration_s": 50}, "kubelet_node_lease_duration_s", "not more than"),
        ({}, {"kubelet_node_status_update_frequency_s": 30}, "kubelet_node_status_update_frequency_s", "4 times"),
        ({}, {"etcd_heartbeat_interval_ms": 300}, "etcd_heartbeat_interval_ms", "5 times"),
        ({}, {"etcd_election_timeout_ms": 400}, "etcd_election_timeout_ms", "5 times"),
        ({}, {"controller_manager_kube_api_qps": 200}, "controller_manager_kube_api_qps", "burst of 150"),
        ({}, {"kubelet_max_parallel_image_pulls": 2}, "kubelet_max_parallel_image_pulls", "kubelet would not start"),
        (EXTERNAL, {"cilium_etcd": True, "cilium_endpoint_slices": True}, "cilium_endpoint_slices", "none to slice"),
        ({}, {"kubelet_max_pod": 3}, "kubelet_max_pod", "no such field"),
        ({}, {"apiserver_goaway_chance": 0.5}, "apiserver_goaway_chance", "less than or equal to 0.02"),
    ],
)
def test_contradiction_is_refused_with_its_field(
    fields: dict[str, Any], tuning: dict[str, Any], field: str, says: str
) -> None:
    found = problems(request(tuning=tuning, **fields))
    assert list(found) == [field]
    assert says in found[field]


def test_an_override_may_contradict_what_the_size_has_chosen() -> None:
    small, large = (
        {"kubelet_serialize_image_pulls": True},
        problems(
            request(
                1000, {"kubelet_serialize_image_pulls": True}, **{**STACKED, "network": {"pod_cidr": "10.0.0.0/12"}}
            )
        ),
    )
    assert problems(request(tuning=small)) == {}
    assert "cannot be 3 at once" in large["kubelet_serialize_image_pulls"]


@pytest.mark.parametrize("name", ["kube_proxy_mode", "separate_events_etcd", "cilium_etcd"])
def test_what_was_fixed_when_the_cluster_was_made_cannot_be_asked_otherwise(name: str) -> None:
    wanted = "iptables" if name == "kube_proxy_mode" else True
    assert (
        "fixed when a cluster is made"
        in problems(request(tuning={name: wanted}, **EXTERNAL), request(**EXTERNAL))[name]
    )


def test_a_cluster_that_grows_keeps_what_was_fixed() -> None:
    wide = {**EXTERNAL, "network": {"pod_cidr": "10.0.0.0/12"}}
    grown = admitted(request(1000, **wide), current=request(5, **wide))
    assert grown.tuning == Tuning(separate_events_etcd=False, cilium_etcd=False)


def test_plan_shows_what_holds_overrides_included() -> None:
    wanted = ClusterSpec.model_validate(request(1000, {"kubelet_max_pods": 50}, **EXTERNAL))
    tuning = plan("create", None, wanted, {"sandbox": OFFER}).tuning
    assert tuning
    assert (tuning.kubelet_max_pods, tuning.kubelet_node_lease_duration_s, tuning.cilium_etcd) == (50, 60, True)
    assert plan("delete", wanted, None, {"sandbox": OFFER}).tuning is None


@pytest.mark.parametrize(
    ("fields", "workers", "says"),
    [
        ({}, 150, "hang on one control plane"),
        (STACKED, 600, "use topology external"),
        ({"control_plane": {"count": 9}}, 1, "9 etcd members"),
        ({**EXTERNAL, "etcd": {"count": 1}}, 150, "hang on one etcd node"),
        (EXTERNAL, 600, "want about 32 CPUs and 120 GiB each, and medium has 2 and 4"),
        ({**EXTERNAL, "tuning": {"kubelet_max_pods": 200}}, 1000, "200,000 pods"),
    ],
)
def test_advice_names_what_would_be_wise(fields: dict[str, Any], workers: int, says: str) -> None:
    spec = ClusterSpec.model_validate({**request(workers), **fields})
    assert any(says in sentence for sentence in advice(spec, None, OFFER))


def test_a_small_cluster_needs_no_advice() -> None:
    assert advice(ClusterSpec.model_validate(ClusterSpec.example), None, OFFER) == []


def test_growth_past_a_size_is_told() -> None:
    small, large = (ClusterSpec.model_validate(request(workers, **STACKED)) for workers in (5, 120))
    assert any("apiserver_goaway_chance" in sentence for sentence in advice(large, small, OFFER))
    assert advice(small, small, OFFER) == []
