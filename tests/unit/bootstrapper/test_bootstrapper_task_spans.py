"""What a trace shows of a run: each task by its name, and where it failed."""

from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from caravan_bootstrapper.task_spans import TaskSpans
from caravan_shared.plumbing import tracing


def _event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": data}


def test_each_task_lasts_until_the_next_and_names_the_hosts_it_failed_on() -> None:
    exporter = InMemorySpanExporter()
    tracing.start_with(exporter, "bootstrapper", "one")
    with tracing.door("run site", {}, {}):
        tasks = TaskSpans()
        for event in (
            _event("playbook_on_start"),
            _event("playbook_on_task_start", name="preflight : Ensure the machine can become a node"),
            _event("runner_on_failed", host="a", ignore_errors=True, res={"msg": "fine"}),
            _event("playbook_on_task_start", name="Ensure etcd runs"),
            _event("runner_on_failed", host="b", res={"msg": "the password is 1234"}),
            _event("runner_on_unreachable", host="a", res={}),
        ):
            tasks.read(event)
        tasks.end()
    tracing.stop()
    first, second, _run = exporter.get_finished_spans()
    assert (first.name, second.name) == ("task Ensure the machine can become a node", "task Ensure etcd runs")
    assert (first.attributes or {})["ansible.role"] == "preflight"
    assert first.status.status_code is StatusCode.UNSET
    assert second.status.description == "failed on a, b", "names alone: what a host said may be anything"


@pytest.mark.parametrize("kind", ["runner_on_ok", "runner_on_failed", "playbook_on_stats"])
def test_without_tracing_nothing_is_made_of_events(kind: str) -> None:
    tasks = TaskSpans()
    tasks.read(_event("playbook_on_task_start", name="Ensure etcd runs"))
    tasks.read(_event(kind, host="a"))
    tasks.end()
