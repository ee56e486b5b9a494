"""Every event that people should know of has a sentence; what is no news has none."""

from typing import Any

import pytest

from caravan_api.handlers import CLUSTER_FACTS, OWN
from caravan_api.timeline import entry, how_many
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import Event, NodeRef

GRANTS_AND_OFFERS = (e.KubeconfigIssued, e.KubeconfigRevoked, e.CloudOffered, e.KubernetesOffered)
SILENT = {e.NodesDrained}


def test_every_event_is_either_heard_or_said_by_the_api() -> None:
    assert {*CLUSTER_FACTS, *OWN, *GRANTS_AND_OFFERS} == set(e.EVENTS.values())


@pytest.mark.parametrize("event_type", [*CLUSTER_FACTS, e.KubeconfigIssued, e.KubeconfigRevoked])
def test_a_fact_has_a_sentence(event_type: Any) -> None:
    event: Event = event_type.model_validate(event_type.example)
    told = entry(event, getattr(event, "nodes", ()) if not isinstance(event, e.BootstrapDone) else ())
    assert (told is None) == (event_type in SILENT)
    assert told is None or (told.kind and told.text)


@pytest.mark.parametrize("event_type", [e.NodesCreating, e.NodesReady, e.NodesJoined, e.NodesLeaving, e.NodesRemoved])
def test_nodes_that_did_not_move_are_no_news(event_type: Any) -> None:
    assert entry(event_type.model_validate(event_type.example), ()) is None


def test_a_thousand_nodes_are_one_line() -> None:
    nodes = [NodeRef(name=f"n{number}", node_set="workers" if number else "control-plane") for number in range(1000)]
    assert how_many(nodes) == "1 node of control-plane, 999 nodes of workers"
