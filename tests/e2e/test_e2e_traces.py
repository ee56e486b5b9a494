"""What was asked can be followed through all services, on one page of a trace viewer; also when one of them dies."""

import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.support.api import SMALL, Api
from tests.support.eventually import eventually
from tests.support.otlp import Collector, Span

SEEN = {
    ("api", "publish cluster.requested"),
    ("provisioner", "process cluster.requested"),
    ("provisioner", "reconcile cluster"),
    ("provisioner", "cloud POST /v1/machines"),
    ("provisioner", "ask rpc.bootstrapper.user_data"),
    ("bootstrapper", "answer rpc.bootstrapper.user_data"),
    ("bootstrapper", "run site"),
    ("dns", "publish endpoint.issued"),
    ("health", "process bootstrap.done"),
    ("api", "process health.changed"),
}
"""What each service does for a create, by the names of its spans."""


async def test_one_create_is_one_trace_through_all_five_services(api: Api, collector: Collector) -> None:
    asked = await api.create("traced", SMALL)
    cluster = await api.until_ready(asked["id"], nodes=3)
    trace_id = cluster["trace"]["id"]
    assert cluster["trace"]["url"] == f"https://traces.example.org/trace/{trace_id}"

    await eventually(lambda: not _missing(collector.of(trace_id)), within=30, saying="spans of every part")
    await eventually(lambda: _is_whole(collector.of(trace_id)), within=30, saying="every span's parent")
    spans = collector.of(trace_id)
    assert {span.service for span in spans} == {f"caravan-{service}" for service in SERVICES}
    assert [span.name for span in spans if not span.parent_id] == ["POST /v1/clusters"]
    [run] = [span for span in spans if span.name == "run site"]
    assert [span.name for span in spans if span.parent_id == run.span_id and span.name.startswith("task Ensure")]
    elsewhere = {span.trace_id for span in collector.spans if _is_about(span, asked["id"])} - {trace_id}
    assert not elsewhere

    await api.call("DELETE", "/clusters/traced")
    await api.until_gone(asked["id"])
    assert (await api.cluster(asked["id"]))["trace"]["id"] != trace_id, "another request is another trace"


@pytest.mark.long
async def test_killed_service_goes_on_in_the_same_trace(stack: Stack, api: Api, collector: Collector) -> None:
    asked = await api.create("resumed", SMALL)

    async def runs() -> bool:
        return (await api.cluster("resumed"))["phase"] == "Bootstrapping"

    await eventually(runs, within=60, every=0.05)
    stack.kill("bootstrapper")
    stack.restart("bootstrapper")
    cluster = await api.until_ready(asked["id"], nodes=3, healthy=False)

    def by_two_lives() -> bool:
        spans = collector.of(cluster["trace"]["id"])
        return len({span.pid for span in spans if span.service == "caravan-bootstrapper"}) == 2

    await eventually(by_two_lives, within=20)
    await api.call("DELETE", "/clusters/resumed")
    await api.until_gone(asked["id"])


def _missing(spans: list[Span]) -> set[tuple[str, str]]:
    return SEEN - {(span.service.removeprefix("caravan-"), span.name) for span in spans}


def _is_whole(spans: list[Span]) -> bool:
    return {span.parent_id for span in spans} - {""} <= {span.span_id for span in spans}


def _is_about(span: Span, cluster_id: str) -> bool:
    return cluster_id in (span.attributes.get("caravan.about"), span.attributes.get("caravan.key"))
