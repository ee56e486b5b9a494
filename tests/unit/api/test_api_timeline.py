"""Every event that people should know of has a sentence; what is no news has none."""

from typing import Any

import pytest

from caravan_api.handlers import CLUSTER_FACTS, OWN
from caravan_api.timeline import change_sentence, entry, how_many
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event, NodeRef
from caravan_shared.contracts.spec import ClusterSpec

GRANTS_AND_OFFERS = (e.KubeconfigIssued, e.KubeconfigRevoked, e.CloudOffered, e.KubernetesOffered)
OF_INVENTORIES = (e.MachinesHandedOver, e.MachinesHandedBack, e.MachinesChanged)
"""Between provisioner and bootstrapper, and about no cluster: the api asks the provisioner how machines are."""
HELD = {"name": "demo-workers-k3x9-1", "node_set": "workers", "reason": "the cluster is paused"}
SILENT = {e.NodesDrained}


def test_every_event_is_either_heard_or_said_by_the_api() -> None:
    assert {*CLUSTER_FACTS, *OWN, *GRANTS_AND_OFFERS, *OF_INVENTORIES} == set(e.EVENTS.values())


@pytest.mark.parametrize("event_type", [*CLUSTER_FACTS, e.KubeconfigIssued, e.KubeconfigRevoked])
def test_a_fact_has_a_sentence(event_type: Any) -> None:
    event: Event = event_type.model_validate(event_type.example)
    told = entry(event, getattr(event, "nodes", ()) if not isinstance(event, e.BootstrapDone) else ())
    assert (told is None) == (event_type in SILENT)
    assert told is None or (told.kind and told.text)


@pytest.mark.parametrize("event_type", [e.NodesCreating, e.NodesReady, e.NodesJoined, e.NodesLeaving, e.NodesRemoved])
def test_nodes_that_did_not_move_are_no_news(event_type: Any) -> None:
    assert entry(event_type.model_validate(event_type.example), ()) is None


def test_node_that_nothing_holds_any_more_is_no_news() -> None:
    event = e.NodesRepairHeld.model_validate({**e.NodesRepairHeld.example, "nodes": [HELD]})
    told = entry(event, event.nodes)
    assert told
    assert (HELD["name"] in told.text, HELD["reason"] in told.text) == (True, True)
    free = e.NodesRepairHeld.model_validate({**e.NodesRepairHeld.example, "nodes": [{**HELD, "reason": ""}]})
    assert entry(free, free.nodes) is None


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({}, {"paused": True}, "alice paused the cluster"),
        ({"paused": True}, {}, "alice resumed the cluster"),
        ({}, {"repair": "off"}, "alice switched repair of the cluster's nodes off"),
        ({"repair": "off"}, {"repair": "auto"}, "alice switched repair of the cluster's nodes on again"),
        ({}, {"version": "1.35.1"}, "alice changed the cluster: 3 nodes with Kubernetes 1.35.1"),
        ({"paused": True}, {"paused": True, "workers": []}, "1 nodes with Kubernetes 1.34.2, which stays paused"),
    ],
)
def test_change_is_told_by_what_it_is(before: dict[str, Any], after: dict[str, Any], says: str) -> None:
    specs = [ClusterSpec.model_validate({**ClusterSpec.example, **changes}) for changes in (before, after)]
    assert says in change_sentence("alice", *specs)


def test_a_thousand_nodes_are_one_line() -> None:
    nodes = [NodeRef(name=f"n{number}", node_set="workers" if number else "control-plane") for number in range(1000)]
    assert how_many(nodes) == "1 node of control-plane, 999 nodes of workers"
