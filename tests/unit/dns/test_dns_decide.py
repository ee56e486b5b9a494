"""Which addresses an endpoint has, whatever is known of its control plane."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_dns.decide import ControlPlaneNode, endpoint_addresses, record_addresses
from caravan_shared.contracts.states import Verdict

NODES = st.lists(
    st.builds(
        ControlPlaneNode,
        name=st.sampled_from([f"demo-control-plane-a1b2-{number}" for number in range(1, 8)]),
        address=st.none() | st.ip_addresses().map(str),
        joined=st.booleans(),
        leaving=st.booleans(),
        verdict=st.sampled_from(Verdict),
    ),
    max_size=7,
    unique_by=lambda node: node.name,
)
FIRST = st.none() | st.just("demo-control-plane-a1b2-1")


def joined(number: int) -> ControlPlaneNode:
    return ControlPlaneNode(name=f"cp-{number}", address=f"10.0.0.{number}", joined=True)


def test_no_address_before_kubeadm_starts() -> None:
    assert endpoint_addresses([replace(joined(1), joined=False)], first_node=None) == ()


def test_first_node_serves_before_it_has_joined() -> None:
    assert endpoint_addresses([replace(joined(1), joined=False)], first_node="cp-1") == ("10.0.0.1",)


def test_a_new_first_node_replaces_one_that_never_joined() -> None:
    nodes = [replace(joined(1), joined=False), replace(joined(2), joined=False)]
    assert endpoint_addresses(nodes, first_node="cp-2") == ("10.0.0.2",)


def test_joined_control_planes_are_listed_in_numeric_order() -> None:
    assert endpoint_addresses([joined(10), joined(9)], None) == ("10.0.0.9", "10.0.0.10")


def test_leaving_control_plane_no_longer_serves() -> None:
    assert endpoint_addresses([joined(1), replace(joined(2), leaving=True)], "cp-2") == ("10.0.0.1",)


def test_unreachable_control_plane_no_longer_serves_and_comes_back() -> None:
    down = replace(joined(2), verdict=Verdict.UNREACHABLE)
    assert endpoint_addresses([joined(1), down], None) == ("10.0.0.1",)
    assert endpoint_addresses([joined(1), replace(down, verdict=Verdict.HEALTHY)], None) == ("10.0.0.1", "10.0.0.2")


def test_monitor_in_doubt_changes_nothing() -> None:
    assert endpoint_addresses([replace(joined(1), verdict=Verdict.UNKNOWN)], None) == ("10.0.0.1",)


@settings(max_examples=80)
@given(nodes=NODES, first=FIRST)
def test_health_alone_never_empties_the_endpoint(nodes: list[ControlPlaneNode], first: str | None) -> None:
    well = [replace(node, verdict=Verdict.HEALTHY) for node in nodes]
    assert bool(endpoint_addresses(nodes, first)) == bool(endpoint_addresses(well, first))


@settings(max_examples=80)
@given(nodes=NODES, first=FIRST)
def test_only_nodes_that_serve_and_stay_are_listed(nodes: list[ControlPlaneNode], first: str | None) -> None:
    may_serve = {node.address for node in nodes if not node.leaving and (node.joined or node.name == first)}
    assert set(endpoint_addresses(nodes, first)) <= may_serve


@settings(max_examples=80)
@given(nodes=NODES, first=FIRST, data=st.data())
def test_order_of_what_is_known_means_nothing(
    nodes: list[ControlPlaneNode], first: str | None, data: st.DataObject
) -> None:
    assert endpoint_addresses(data.draw(st.permutations(nodes)), first) == endpoint_addresses(nodes, first)


@settings(max_examples=100)
@given(nodes=NODES, first=FIRST)
def test_every_reachable_joined_control_plane_is_listed(nodes: list[ControlPlaneNode], first: str | None) -> None:
    well = {
        node.address
        for node in nodes
        if node.address and node.joined and not node.leaving and node.verdict is not Verdict.UNREACHABLE
    }
    assert well <= set(endpoint_addresses(nodes, first))


@settings(max_examples=50)
@given(nodes=NODES, first=FIRST)
def test_name_stays_at_a_virtual_ip_and_else_follows_the_control_planes(
    nodes: list[ControlPlaneNode], first: str | None
) -> None:
    control_planes = endpoint_addresses(nodes, first)
    assert record_addresses(control_planes, "10.0.0.250") == ("10.0.0.250",)
    assert record_addresses(control_planes, None) == control_planes
