"""What Ansible is told: groups by play, variables by role, and text that stays text."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_bootstrapper import inventory
from caravan_bootstrapper.inventory import Work, build, platform, to_yaml
from caravan_bootstrapper.kubeadm import registration
from caravan_bootstrapper.views import NodeView, Play
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role, Taint
from caravan_shared.contracts.states import MembershipState, Verdict

SPEC = ClusterSpec.model_validate(
    {
        "version": "1.34.2",
        "topology": "external",
        "etcd": {"count": 1},
        "workers": [{"name": "gpu", "labels": {"team": "blue"}, "taints": [{"key": "gpu", "effect": "NoSchedule"}]}],
    }
)


def node(name: str, node_set: str, role: Role, address: str) -> NodeView:
    return NodeView(name, node_set, MembershipState.WAITING, role, machine_id=f"m-{name}", address=address)


FIRST = node("cp-1", "control-plane", Role.CONTROL_PLANE, "10.0.0.1")
SECOND = node("cp-2", "control-plane", Role.CONTROL_PLANE, "10.0.0.2")
ETCD = node("etcd-1", "etcd", Role.ETCD, "fd00::3")
WORKER = node("gpu-1", "gpu", Role.WORKER, "10.0.0.4")
WORK = Work(
    play=Play.SITE,
    cluster="demo",
    spec=SPEC,
    nodes=(FIRST, SECOND, ETCD, WORKER),
    etcd=(ETCD,),
    manager=None,
    endpoint="demo.default.caravan.test:6443",
    secrets_dir=Path("/run/secrets"),
    sandbox_url="http://127.0.0.1:8790",
    joins_in_flight=10,
)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Loader(yaml.SafeLoader):
    """Reads `!unsafe` text as Ansible would: as what it says."""


Loader.add_constructor("!unsafe", lambda loader, text: loader.construct_scalar(text))  # type: ignore[arg-type]


def groups(work: Work) -> dict[str, list[str]]:
    children: dict[str, Any] = build(work)["all"]["children"]
    return {group: list(members["hosts"]) for group, members in children.items() if members["hosts"]}


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        (
            Play.SITE,
            {
                "joining": ["cp-1", "cp-2", "etcd-1", "gpu-1"],
                "first_control_plane": ["cp-1"],
                "etcd": ["etcd-1"],
            },
        ),
        (Play.ADD_NODES, {"joining": ["cp-1", "cp-2", "etcd-1", "gpu-1"]}),
        (Play.REMOVE_NODES, {"leaving": ["cp-1", "cp-2", "etcd-1", "gpu-1"]}),
        (Play.RESET, {"leaving": ["cp-1", "cp-2", "etcd-1", "gpu-1"]}),
        (Play.UPGRADE, {"etcd": ["etcd-1"], "control_plane": ["cp-1", "cp-2"], "workers": ["gpu-1"]}),
    ],
)
def test_each_play_finds_its_groups(play: Play, expected: dict[str, list[str]]) -> None:
    assert groups(replace(WORK, play=play)) == expected


def test_only_control_planes_that_come_carry_the_virtual_ip() -> None:
    spec = SPEC.model_copy(update={"network": SPEC.network.model_copy(update={"virtual_ip": ip_address("10.0.0.9")})})
    assert groups(replace(WORK, spec=spec))["carriers"] == ["cp-1", "cp-2"]
    assert "carriers" not in groups(replace(WORK, spec=spec, play=Play.UPGRADE))


@pytest.mark.parametrize("play", sorted(inventory.INSTALLING))
def test_every_machine_that_installs_something_is_told_where_its_state_is(play: Play) -> None:
    hosts = build(replace(WORK, play=play, artifacts={"worker": {}}))["all"]["hosts"]
    assert hosts["gpu-1"]["caravan_node_state_file"] == "/run/node-state-worker.json"
    assert hosts["etcd-1"]["caravan_node_state_file"] == "/run/node-state-etcd.json"


def test_every_group_exists_even_when_empty() -> None:
    assert set(build(WORK)["all"]["children"]) == set(inventory.GROUPS)


def test_worker_carries_labels_taints_and_its_configuration_but_no_address() -> None:
    variables = build(WORK)["all"]["hosts"]["gpu-1"]
    assert variables["kubeadm_labels"] == [["team", "blue"]]
    assert variables["kubeadm_taints"] == [{"key": "gpu", "value": "", "effect": "NoSchedule"}]
    assert variables["kubeadm_address"] is None
    assert variables["caravan_join_file"] == "/run/join-gpu-1.yaml"


def test_control_plane_keeps_kubeadms_own_taint_and_advertises_its_address() -> None:
    variables = build(WORK)["all"]["hosts"]["cp-1"]
    assert variables["kubeadm_taints"] is None
    assert variables["kubeadm_address"] == "10.0.0.1"


def test_external_etcd_is_named_by_url() -> None:
    common = build(WORK)["all"]["vars"]
    assert common["kubeadm_etcd_endpoints"] == ["https://[fd00::3]:2379"]
    assert common["kubeadm_port"] == 6443


def test_sandbox_machines_are_not_connected_to_and_others_are() -> None:
    over_ssh = replace(WORKER, connection=Connection.SSH)
    hosts = build(replace(WORK, nodes=(FIRST, over_ssh)))["all"]["hosts"]
    assert hosts["cp-1"]["ansible_connection"] == "local"
    assert "ansible_connection" not in hosts["gpu-1"]
    assert (platform([FIRST]), platform([over_ssh])) == ("sandbox", "linux")


def test_nodes_of_a_set_that_is_no_longer_asked_for_can_still_leave() -> None:
    old = node("old-1", "old", Role.WORKER, "10.0.0.9")
    hosts = build(replace(WORK, play=Play.REMOVE_NODES, nodes=(old,), manager=FIRST))["all"]
    assert hosts["hosts"]["old-1"]["caravan_machine_id"] == "m-old-1"
    assert hosts["vars"]["caravan_manager_machine_id"] == "m-cp-1"


@settings(max_examples=100)
@given(text=st.text())
def test_any_text_comes_back_from_the_yaml_and_is_never_a_template(text: str) -> None:
    hostile = NodeSet(
        name="gpu",
        role=Role.WORKER,
        count=1,
        machine_type="m",
        labels={"team": text},
        taints=(Taint.model_construct(key=text, value=text, effect="NoSchedule"),),
    )
    document = build(WORK)
    document["all"]["hosts"]["gpu-1"] |= registration(hostile)
    written = to_yaml(document)
    assert yaml.load(written, Loader) == document
    assert _plain_text(yaml.compose(written)) == []


def _plain_text(tree: yaml.Node | None) -> list[str]:
    """Values that are text and not marked `!unsafe`."""
    if isinstance(tree, yaml.MappingNode):
        return [text for _, value in tree.value for text in _plain_text(value)]
    if isinstance(tree, yaml.SequenceNode):
        return [text for value in tree.value for text in _plain_text(value)]
    assert isinstance(tree, yaml.ScalarNode)
    return [tree.value] if tree.tag == "tag:yaml.org,2002:str" else []


def test_a_large_cluster_has_etcds_apart_and_cilium_is_told_of_its_own() -> None:
    chart = {"name": "cilium", "url": "/mirror/charts/cilium-1.19.3.tgz"}
    nodes = [replace(each, connection=Connection.SSH) for each in WORK.nodes]
    large = {**SPEC.model_dump(), "workers": [{"name": "gpu", "count": 1000}]}
    work = replace(
        WORK,
        spec=ClusterSpec.model_validate(large),
        nodes=nodes,
        artifacts={"control-plane": {"charts": [chart], "images": []}},
    )
    told = build(work)["all"]["vars"]
    assert told["kubeadm_etcd_endpoints"] == ["https://[fd00::3]:2379"]
    assert told["kubeadm_events_etcd_endpoints"] == ["https://[fd00::3]:2389"]
    assert told["caravan_cilium_values"]["etcd"]["endpoints"] == ["https://[fd00::3]:2399"]
    assert told["caravan_cilium_etcd_file"] == "/run/secrets/cilium-etcd.json"
    assert told["caravan_joins_in_flight"] == 50


def test_bystanders_of_an_upgrade_are_living_members_that_run_pods_and_are_reached_over_ssh() -> None:
    joined = [
        replace(each, state=MembershipState.JOINED, connection=Connection.SSH, ready_at=NOW) for each in WORK.nodes
    ]
    first, second, _, worker = joined
    absent = [replace(worker, name="gpu-2", verdict=Verdict.UNREACHABLE), replace(worker, name="gpu-3", leaving=True)]
    assert inventory.bystanders([*joined, *absent], [first]) == [second, worker]
    work = replace(WORK, play=Play.UPGRADE, nodes=(first,), manager=second, bystanders=(second, worker))
    assert groups(work) == {"control_plane": ["cp-1"], "bystanders": ["cp-2", "gpu-1"], "manager": ["cp-2"]}
    hosts = build(work)["all"]["hosts"]
    assert [hosts[name]["caravan_role"] for name in ("cp-2", "gpu-1")] == ["control-plane", "worker"]


@pytest.mark.parametrize(("address", "endpoint"), [("10.0.0.250", "10.0.0.250:6443"), ("fd00::fa", "[fd00::fa]:6443")])
def test_nodes_know_a_cluster_by_its_virtual_ip_and_certificates_name_its_host_too(address: str, endpoint: str) -> None:
    spec = ClusterSpec.model_validate({**SPEC.model_dump(mode="json"), "network": {"virtual_ip": address}})
    nodes = [replace(each, connection=Connection.SSH) for each in WORK.nodes]
    chart = {"name": "cilium", "url": "/mirror/charts/cilium-1.19.3.tgz"}
    artifacts = {"control-plane": {"charts": [chart], "images": []}}
    told = build(replace(WORK, spec=spec, nodes=nodes, artifacts=artifacts))["all"]["vars"]
    assert (told["kubeadm_endpoint"], told["kubeadm_port"]) == (endpoint, 6443)
    assert told["kubeadm_cert_sans"] == [told["caravan_zone"]] == ["demo.default.caravan.test"]
    assert told["caravan_virtual_ip"] == told["caravan_cilium_values"]["k8sServiceHost"] == address


def test_nodes_of_a_cluster_without_know_it_by_its_name() -> None:
    nodes = [replace(each, connection=Connection.SSH) for each in WORK.nodes]
    told = build(replace(WORK, play=Play.ADD_NODES, nodes=nodes))["all"]["vars"]
    assert told["kubeadm_endpoint"] == WORK.endpoint
    assert (told["caravan_virtual_ip"], told["kubeadm_cert_sans"]) == ("", [])


@pytest.mark.parametrize("connection", list(Connection))
def test_provider_that_people_sign_in_with_is_told_on_every_platform(connection: Connection) -> None:
    oidc = {"issuer_url": "https://login.example.org", "client_id": "k", "admin_groups": ["{{ ops }}"]}
    spec = ClusterSpec.model_validate({**SPEC.model_dump(), "network": {"cni": "none"}, "oidc": oidc})
    nodes = [replace(each, connection=connection) for each in WORK.nodes]
    inventory_of = build(replace(WORK, spec=spec, nodes=nodes))
    told = yaml.load(to_yaml(inventory_of), Loader)["all"]["vars"]["caravan_oidc"]
    assert told.items() >= {**oidc, "groups_prefix": "oidc:", "ca_certificate": None}.items()
    assert '!unsafe "{{ ops }}"' in to_yaml(inventory_of), "a group's name is no template"
    assert "caravan_oidc" not in build(WORK)["all"]["vars"]
