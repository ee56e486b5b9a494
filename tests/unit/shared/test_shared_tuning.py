"""Tuning: chosen by size and shape, overridden by the spec, and fixed where a running cluster cannot change it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_shared.contracts.choices import CHOICES
from caravan_shared.contracts.presets import effective, fixed, kept, preset
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.tuning import FIXED_AT_CREATION, KubeProxyMode, Tuning

SIZES = sorted({nodes + off for choice in CHOICES for nodes, _ in choice.steps for off in (-1, 0)} | {5100})


def spec(
    workers: int = 2,
    *,
    external: bool = False,
    cni: str = "cilium",
    control_planes: int = 3,
    tuning: dict[str, Any] | None = None,
) -> ClusterSpec:
    whole = {
        "version": "1.34.2",
        "topology": "external" if external else "stacked",
        "control_plane": {"count": control_planes},
        "workers": [
            {"name": f"w{number}", "count": min(5000, workers - number * 5000)} for number in range(workers // 5000 + 1)
        ],
        "network": {"cni": cni},
        "tuning": tuning,
    }
    return ClusterSpec.model_validate(whole)


def test_a_small_cluster_keeps_the_defaults_of_kubernetes_once_it_has_started() -> None:
    quick_start = {"controller_manager_kube_api_burst": 150}
    assert preset(spec(3, cni="flannel")) == Tuning(**quick_start)
    assert preset(spec(3)) == Tuning(kube_proxy_mode=KubeProxyMode.NONE, **quick_start)


def test_a_thousand_nodes_with_etcd_nodes_get_etcds_apart_and_longer_leases() -> None:
    tuning = effective(spec(1013, external=True))
    assert (tuning.separate_events_etcd, tuning.cilium_etcd, tuning.cilium_endpoint_slices) == (True, True, None)
    assert (tuning.kubelet_node_lease_duration_s, tuning.controller_manager_node_monitor_grace_period_s) == (60, 75)
    assert (tuning.apiserver_max_requests_inflight, tuning.joins_in_flight) == (1500, 50)


def test_etcds_apart_need_etcd_nodes() -> None:
    tuning = effective(spec(1016))
    assert (tuning.separate_events_etcd, tuning.cilium_etcd, tuning.cilium_endpoint_slices) == (None, None, True)


def test_cilium_is_tuned_only_where_it_is_the_pod_network() -> None:
    tuning = effective(spec(4000, external=True, cni="flannel"))
    assert not [name for name, value in tuning if name.startswith("cilium") and value is not None]
    assert tuning.kube_proxy_mode is KubeProxyMode.NFTABLES


def test_clients_are_sent_elsewhere_only_where_there_is_an_elsewhere() -> None:
    assert effective(spec(200, control_planes=1)).apiserver_goaway_chance is None
    assert effective(spec(200)).apiserver_goaway_chance == 0.001


def test_overrides_win_and_leave_the_rest() -> None:
    chosen = effective(spec(1013, tuning={"kubelet_max_pods": 200, "kubelet_serialize_image_pulls": True}))
    assert (chosen.kubelet_max_pods, chosen.kubelet_serialize_image_pulls) == (200, True)
    assert chosen.etcd_snapshot_count == preset(spec(1013)).etcd_snapshot_count


def test_slices_follow_an_override_of_the_etcd_they_stand_in_for() -> None:
    assert effective(spec(1013, external=True, tuning={"cilium_etcd": False})).cilium_endpoint_slices


@pytest.mark.parametrize("nodes", SIZES)
@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("cni", ["cilium", "flannel"])
def test_presets_of_every_size_hang_together(nodes: int, external: bool, cni: str) -> None:
    got = preset(spec(max(nodes - 6, 0), external=external, cni=cni))
    lease, grace = got.kubelet_node_lease_duration_s or 40, got.controller_manager_node_monitor_grace_period_s or 50
    look, report = got.kubelet_node_status_update_frequency_s, got.kubelet_node_status_report_frequency_s
    assert lease < grace
    assert (look is None) == (report is None), "a look set alone makes every look a report"
    assert (look or 10) * 4 <= grace
    assert (got.etcd_heartbeat_interval_ms or 100) * 5 <= (got.etcd_election_timeout_ms or 1000)
    assert (got.controller_manager_kube_api_qps or 20) <= (got.controller_manager_kube_api_burst or 30)
    assert (got.kubelet_registry_pull_qps or 5) <= (got.kubelet_registry_burst or 10)
    assert got.kubelet_max_parallel_image_pulls is None or got.kubelet_serialize_image_pulls is False
    assert not (got.cilium_etcd and got.cilium_endpoint_slices)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.field}-{choice.steps[0][0]}")
def test_choices_ascend_and_give_a_reason_and_a_source(choice: Any) -> None:
    sizes = [nodes for nodes, _ in choice.steps]
    assert sizes == sorted(set(sizes))
    assert choice.why.endswith(".")
    assert choice.source.startswith("https://")


def test_every_value_says_what_it_is() -> None:
    assert all(field.description and "Default: " in field.description for field in Tuning.model_fields.values())


def test_growth_leaves_what_was_fixed_and_names_it() -> None:
    grown = kept(spec(1000, external=True), spec(20, external=True))
    assert grown.tuning == Tuning(separate_events_etcd=False, cilium_etcd=False)
    assert effective(grown).kubelet_node_lease_duration_s == 60
    again = kept(spec(3, external=True, tuning=grown.tuning.model_dump()), grown)
    assert fixed(again) == fixed(spec(20, external=True))


def test_what_shrinks_keeps_its_etcds() -> None:
    shrunk = kept(spec(20, external=True), spec(1000, external=True))
    assert (effective(shrunk).separate_events_etcd, effective(shrunk).cilium_etcd) == (True, True)


def test_a_change_within_a_size_names_nothing() -> None:
    assert kept(spec(30, external=True), spec(20, external=True)).tuning is None


_sizes = st.integers(0, 5000)


@settings(max_examples=50)
@given(
    path=st.lists(_sizes, min_size=2, max_size=5), external=st.booleans(), cni=st.sampled_from(["cilium", "flannel"])
)
def test_what_is_fixed_never_changes_however_a_cluster_grows(path: list[int], external: bool, cni: str) -> None:
    made = current = spec(path[0], external=external, cni=cni)
    for workers in path[1:]:
        current = kept(spec(workers, external=external, cni=cni).model_copy(update={"tuning": current.tuning}), current)
        assert fixed(current) == fixed(made)
    assert set(fixed(made)) == set(FIXED_AT_CREATION)
