"""Reading a NodeList: every condition, every form of the JSON, and nonsense."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_health.errors import NotAKubeApiserver
from caravan_health.lists import read_page
from caravan_health.nodes import read_node
from caravan_shared.contracts.states import Verdict


def node(name: str = "w-1", **conditions: str) -> dict[str, Any]:
    told = [{"type": kind, "status": status, "message": f"{kind} says so"} for kind, status in conditions.items()]
    return {"metadata": {"name": name}, "spec": {}, "status": {"conditions": told, "images": [{"names": ["a]}"]}]}}


@pytest.mark.parametrize(
    ("conditions", "verdict", "reason"),
    [
        ({"Ready": "True"}, Verdict.HEALTHY, "Ready"),
        ({"Ready": "True", "MemoryPressure": "False"}, Verdict.HEALTHY, "Ready"),
        (
            {"Ready": "True", "DiskPressure": "True", "PIDPressure": "True"},
            Verdict.DEGRADED,
            "DiskPressure, PIDPressure",
        ),
        ({"Ready": "True", "NetworkUnavailable": "True"}, Verdict.DEGRADED, "NetworkUnavailable"),
        ({"Ready": "False"}, Verdict.DEGRADED, "NotReady: Ready says so"),
        ({"Ready": "Unknown"}, Verdict.UNREACHABLE, "NotReady: its kubelet stopped posting status"),
        ({}, Verdict.UNKNOWN, "has not reported its conditions yet"),
    ],
)
def test_conditions_make_the_verdict(conditions: dict[str, str], verdict: Verdict, reason: str) -> None:
    told = read_node(node(**conditions))
    assert (told.verdict, told.reason) == (verdict, reason)


def test_endless_message_is_cut() -> None:
    unready = node(Ready="False")
    unready["status"]["conditions"][0]["message"] = "x" * 10_000
    assert len(read_node(unready).reason) < 200


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("onward", ["", "eyJ2IjoibWV0YSJ9"])
async def test_page_is_read_in_any_layout(indent: int | None, onward: str) -> None:
    items = [node(f"w-{n}", Ready="True") for n in range(120)]
    listed = {"kind": "NodeList", "metadata": {"continue": onward} if onward else {}, "items": items}
    readings, token = await read_page(json.dumps(listed, indent=indent), read_node)
    assert [reading.name for reading in readings] == [f"w-{n}" for n in range(120)]
    assert token == onward


async def test_token_after_the_items_is_found() -> None:
    assert (await read_page(json.dumps({"items": [node()], "metadata": {"continue": "abc"}}), read_node))[1] == "abc"


@pytest.mark.parametrize("text", ['{"items": []}', '{"items":null}', '{"items":[\n]}'])
async def test_cluster_without_nodes_lists_none(text: str) -> None:
    assert await read_page(text, read_node) == ([], "")


@pytest.mark.parametrize(
    "text", ["", "<html>", '{"items":', '{"items":[', '{"items":[{}]}', '{"items":[1,2]}', '{"items":[{} {}]}']
)
async def test_nonsense_is_no_kube_apiserver(text: str) -> None:
    with pytest.raises(NotAKubeApiserver):
        await read_page(text, read_node)


@given(st.text(max_size=200))
@settings(max_examples=100)
async def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, '{"items":[' + text, '{"items":[' + json.dumps(node()) + text):
        try:
            readings, _ = await read_page(whole, read_node)
        except NotAKubeApiserver:
            continue
        assert len(readings) <= 1
