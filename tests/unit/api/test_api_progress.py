"""What a team is told of a cluster: one event a line of the timeline at most, and nothing of what is not its own."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from caravan_api.decide.facts import Endpoint, Facts, Health
from caravan_api.progress import told
from caravan_api.readmodel import FailureView, NodeSetView
from caravan_api.store import Cluster
from caravan_api.timeline import Entry, entry
from caravan_shared.contracts import events as e
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def cluster(facts: Facts | None = None, failure: FailureView | None = None) -> Cluster:
    sets = [
        NodeSetView(
            name="control-plane", role=Role.CONTROL_PLANE, machine_type="m", wanted=1, made=1, joined=1, ready=1
        ),
        NodeSetView(name="workers", role=Role.WORKER, machine_type="m", wanted=1000, made=700, joined=600, failed=2),
    ]
    return Cluster(
        id=uuid4(),
        team="payments",
        name="demo",
        created_by="alice",
        created_at=NOW,
        updated_at=NOW,
        announced_at=NOW,
        spec=ClusterSpec.example,
        facts=(facts or Facts()).model_dump(mode="json"),
        failure=failure.model_dump(mode="json") if failure else None,
        phase="Provisioning",
        version="1.34.2",
        cloud="sandbox",
        nodes_wanted=1001,
        node_sets=[node_set.model_dump(mode="json") for node_set in sets],
    )


def test_a_phase_tells_why_it_failed_and_who_can_fix_it() -> None:
    failure = FailureView(reason="no host has 4 free CPUs", who_can_fix=WhoCanFix.OPERATOR, retry_helps=True)
    line = Entry("phase", "The cluster is Failed", {"phase": "Failed", "before": "Provisioning"})
    [event] = told(cluster(failure=failure), [line])
    assert isinstance(event, e.ClusterPhaseChanged)
    assert event.published_on() == "progress.payments.cluster.phase_changed"
    assert (event.phase, event.before, event.text) == ("Failed", "Provisioning", line.text)
    assert (event.reason, event.who_can_fix, event.retry_helps) == (failure.reason, "operator", True)


@pytest.mark.parametrize(
    "line",
    [
        Entry("machines", "Machines run", {"node_sets": {"workers": 1}}),
        Entry("joined", "Joined", {"node_sets": {"workers": 1}}),
        Entry("failure", "Machines failed", {"node_sets": {"workers": 1}}),
        Entry("held", "Not replaced yet", {"node_sets": {"workers": 1}}),
        Entry("health", "Nodes: 1 Healthy", {"verdicts": {"Healthy": 1}}),
    ],
    ids=lambda line: line.kind,
)
def test_news_of_nodes_is_one_event_with_counts_however_many_they_are(line: Entry) -> None:
    [event] = told(cluster(), [line])
    assert isinstance(event, e.ClusterNodesChanged)
    assert (event.wanted, event.made, event.joined, event.ready, event.failed) == (1001, 701, 601, 1, 2)
    assert len(event.model_dump_json()) < 400


def test_verdict_and_endpoint_are_told_as_the_facts_hold_them() -> None:
    facts = Facts(
        health=Health(verdict=Verdict.DEGRADED, reason="slow", since=NOW, sequence=7),
        endpoint=Endpoint(host="demo.test", port=6443, addresses=("127.64.0.1",), resolvable=True, sequence=8),
    )
    lines = [
        Entry("health", "Degraded: slow", {"verdict": "Degraded"}),
        Entry("endpoint", "demo.test:6443", {"addresses": ["127.64.0.1"]}),
    ]
    health, endpoint = told(cluster(facts), lines)
    assert isinstance(health, e.ClusterHealthChanged)
    assert (health.verdict, health.reason, health.since) == ("Degraded", "slow", NOW)
    assert isinstance(endpoint, e.ClusterEndpointIssued)
    assert (endpoint.host, endpoint.port, endpoint.addresses, endpoint.resolvable) == (
        "demo.test",
        6443,
        ("127.64.0.1",),
        True,
    )


@pytest.mark.parametrize(
    "line",
    [
        Entry("requested", "alice asked for the cluster", {"user": "alice"}),
        Entry("access", "bob was granted access", {"user": "bob"}),
        Entry("bootstrap", "site: ensure kubeadm", {"run_id": "r"}),
        Entry("lease", "bob leased it"),
        Entry("failure", "Bootstrapping failed: port 6443 is in use", {"generation": 1, "who_can_fix": "operator"}),
        Entry("endpoint", "The name is withdrawn and all credentials are void"),
    ],
    ids=lambda line: f"{line.kind}: {line.text}",
)
def test_what_is_told_elsewhere_or_not_at_all_makes_no_event(line: Entry) -> None:
    assert told(cluster(), [line]) == []


@pytest.mark.parametrize("fact", e.EVENTS.values(), ids=list(e.EVENTS))
def test_no_line_of_any_fact_tells_more_than_one_event(fact: Any) -> None:
    event = fact.model_validate(fact.example)
    facts = Facts(
        health=Health(verdict=Verdict.HEALTHY, reason="ready", since=NOW, sequence=1),
        endpoint=Endpoint(host="demo.test", port=6443, addresses=(), resolvable=True, sequence=1),
    )
    nodes = getattr(event, "nodes", ())
    line = entry(event, nodes if isinstance(nodes, tuple) else ())
    events = told(cluster(facts), [line] if line else [])
    assert len(events) <= 1
    assert all(one.team == "payments" and "BEGIN" not in one.model_dump_json() for one in events)
