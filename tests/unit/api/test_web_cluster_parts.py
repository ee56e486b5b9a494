"""What the page of a cluster and the form for a new one are made of: steps, conditions, history, topology, wishes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from caravan_api.doors.web.screens.cluster.history import columns
from caravan_api.doors.web.screens.cluster.steps import steps_of
from caravan_api.doors.web.screens.cluster.topology import quorum, topology
from caravan_api.doors.web.screens.create import told, wish
from caravan_api.doors.web.screens.create.wish import Wish
from caravan_api.store import Node, TimelineEntry
from caravan_shared.contracts.events import CloudOffered

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CLUSTER = UUID(int=1)
OFFERS = {
    name: CloudOffered.model_validate(
        {
            **CloudOffered.example,
            "cloud": name,
            "machine_types": [{"name": each, "cpus": 2, "memory_mib": 4096, "disk_gib": 40} for each in machines],
        }
    )
    for name, machines in {"one": ("small", "medium"), "two": ("m1",)}.items()
}


def entry(number: int, kind: str, seconds_ago: float, data: Mapping[str, Any] | None = None) -> TimelineEntry:
    at = NOW - timedelta(seconds=seconds_ago)
    return TimelineEntry(
        id=number, cluster_id=CLUSTER, team="t", at=at, kind=kind, text=kind, source="test", data=dict(data or {})
    )


def test_each_step_lasts_until_the_next_and_the_last_runs_while_work_goes_on() -> None:
    entries = [entry(3, "bootstrap", 10), entry(2, "machines", 40), entry(1, "requested", 50), entry(0, "machines", 99)]
    steps = steps_of(entries, NOW, is_working=True)
    assert [(step.id, step.lasted.total_seconds(), step.is_running) for step in steps] == [
        (1, 10, False),
        (2, 30, False),
        (3, 10, True),
    ]
    assert [(step.begins, step.share) for step in steps] == [(0, 0.2), (0.2, 0.6), (0.8, 0.2)]


def test_what_is_done_ends_with_the_phase_it_led_to() -> None:
    entries = [
        entry(4, "health", 1),
        entry(3, "phase", 20, {"phase": "Ready"}),
        entry(2, "phase", 30, {"phase": "Bootstrapping"}),
        entry(1, "changed", 50),
    ]
    steps = steps_of(entries, NOW, is_working=False)
    assert [(step.id, step.lasted.total_seconds(), step.is_end) for step in steps] == [(1, 30, False), (3, 0, True)]


def test_a_runs_log_is_offered_at_its_first_step_and_where_it_failed() -> None:
    entries = [
        entry(5, "failure", 10, {"run_id": "b"}),
        entry(4, "bootstrap", 20, {"run_id": "b"}),
        entry(3, "bootstrap", 30, {"run_id": "a"}),
        entry(2, "bootstrap", 40, {"run_id": "a"}),
        entry(1, "requested", 50),
    ]
    steps = steps_of(entries, NOW, is_working=False)
    assert [(step.id, step.shows_log_of) for step in steps] == [(1, None), (2, "a"), (3, None), (4, "b"), (5, "b")]


def test_history_holds_each_value_until_the_next_one() -> None:
    verdicts = [
        {"verdict": "Healthy", "since": (NOW - timedelta(hours=2)).isoformat()},
        {"verdict": "Unreachable", "since": (NOW - timedelta(hours=1)).isoformat()},
    ]
    heard = [
        entry(1, "health", 5400, {"verdict": "Healthy", "nodes_ready": 3}),
        entry(2, "health", 60, {"verdicts": {}}),
    ]
    moments, levels, ready = columns(verdicts, heard, NOW)
    assert [round(NOW.timestamp() - moment) for moment in moments] == [7200, 5400, 3600, 0]
    assert (levels, ready) == ([2, 2, 0, 0], [None, 3, 3, 3])
    assert columns([], [], NOW) == ([], [], [])


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (0, "No etcd member runs yet"),
        (1, "etcd: 1 member, 1 must answer, none may fail"),
        (3, "etcd: 3 members, 2 must answer, 1 may fail"),
        (4, "etcd: 4 members, 3 must answer, 1 may fail"),
        (5, "etcd: 5 members, 3 must answer, 2 may fail"),
    ],
)
def test_quorum_is_more_than_half(members: int, said: str) -> None:
    assert quorum(members) == said


@pytest.mark.parametrize(("etcd_nodes", "lines", "holds"), [(0, 3, "kube-apiserver + etcd"), (3, 3 + 9, ">etcd<")])
def test_etcd_is_drawn_where_it_lives(etcd_nodes: int, lines: int, holds: str) -> None:
    drawn = str(topology([*_nodes("control-plane", 3), *_nodes("etcd", etcd_nodes)], "<b>.example.org:6443", "c"))
    assert drawn.count("topology-line") == lines
    assert holds in drawn
    assert "<b>" not in drawn


def _nodes(node_set: str, count: int) -> list[Node]:
    return [
        Node(
            cluster_id=CLUSTER,
            name=f"c-{node_set}-{number}",
            node_set=node_set,
            state="Joined",
            machine="Ready",
            changed_at=NOW,
        )
        for number in range(count)
    ]


def test_what_is_proposed_takes_machines_that_the_cloud_offers() -> None:
    first = wish.first(("1.35.1", "1.34.2"), OFFERS)
    assert first.spec() == {
        "version": "1.35.1",
        "cloud": "one",
        "control_plane": {"count": "1", "machine_type": "medium"},
        "workers": [{"name": "workers", "count": "2", "machine_type": "medium"}],
    }
    moved = wish.settled(Wish({**first.fields, "workers.0.cloud": "two"}), OFFERS)
    assert moved["workers.0.machine_type"] == "m1"
    assert moved["control_plane.machine_type"] == "medium"


def test_rows_are_numbered_anew_when_one_goes() -> None:
    asked = wish.read([("workers.0.name", "a"), ("workers.7.name", "b"), ("workers.7.count", "4"), ("junk", "x")])
    assert asked.fields == {"workers.0.name": "a", "workers.1.name": "b", "workers.1.count": "4"}
    assert wish.without_row(asked, 0).fields == {"workers.0.name": "b", "workers.0.count": "4"}
    assert wish.with_row(asked, {})["workers.2.name"] == "workers-2"


def test_etcd_is_asked_for_only_where_it_has_nodes_of_its_own() -> None:
    fields = {"cloud": "one", "etcd.count": "5", "topology": "stacked"}
    assert "etcd" not in Wish(fields).spec()
    external = wish.settled(Wish({**fields, "topology": "external"}), OFFERS)
    assert external.spec()["etcd"] == {"count": "5", "machine_type": "medium"}


def test_the_command_says_the_same_or_names_the_file() -> None:
    spec = {"version": "1.34.2", "workers": [{"name": "gpu", "count": 2, "machine_type": "large"}]}
    assert told.as_command(None, spec, "8") == (
        "caravan cluster create demo --version 1.34.2 --workers gpu=2 --machine-type gpu=large --lifetime 8h --wait"
    )
    with_dns = {**spec, "network": {"dns_domain": "x.local"}}
    assert told.as_command("it's", with_dns, "") == """caravan cluster create 'it'"'"'s' -f cluster.yaml --wait"""
    assert told.as_yaml("demo", {"version": "1.34.2"}) == "name: demo\nspec:\n  version: 1.34.2\n"
