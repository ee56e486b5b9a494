"""Requests as events: the same admission, one answer a request, and never a stuck door."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.js.errors import NotFoundError
from tests.integration.api.conftest import Stack, fresh
from tests.support.eventually import eventually

from caravan_shared.contracts.spec import ClusterSpec


async def ask(stack: Stack, body: Any, team: str = "builds") -> None:
    """Publish a request as a team would: with no headers of ours."""
    subject = f"intake.{team}.cluster.requested"
    await stack.service.bus.js.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode())


async def answered(stack: Stack, request_id: str, subject: str) -> dict[str, Any]:
    """The answer to a request."""

    async def look() -> dict[str, Any] | None:
        try:
            message = await stack.service.bus.js.get_last_msg("FACTS", subject)
        except NotFoundError:
            return None
        body: dict[str, Any] = json.loads(message.data or b"{}")
        return body if body["request_id"] == request_id else None

    found = await eventually(look)
    assert found
    return found


async def test_an_admitted_event_becomes_its_teams_cluster(stack: Stack) -> None:
    request_id, name = str(uuid4()), fresh()
    wanted = {"request_id": request_id, "name": name, "spec": ClusterSpec.example, "team": "default"}
    await ask(stack, wanted)
    accepted = await answered(stack, request_id, "cluster.accepted")
    cluster = (await stack.http.get(f"/v1/clusters/{accepted['cluster_id']}")).json()
    assert (cluster["team"], cluster["name"], accepted["team"]) == ("builds", name, "builds")
    assert cluster["created_by"] == f"event:{request_id}"


async def test_a_refused_event_gets_every_problem(stack: Stack) -> None:
    request_id = str(uuid4())
    spec = {"version": "0.0.1", "control_plane": {"count": 2}}
    await ask(stack, {"request_id": request_id, "name": "Not-A-Name", "spec": spec})
    rejected = await answered(stack, request_id, "cluster.rejected")
    assert {problem["field"] for problem in rejected["problems"]} == {
        "name",
        "spec.version",
        "spec.control_plane.count",
    }


async def test_a_repeated_event_is_one_request(stack: Stack) -> None:
    request_id, name = str(uuid4()), fresh()
    for _ in range(5):
        await ask(stack, {"request_id": request_id, "name": name, "spec": ClusterSpec.example})
    accepted = await answered(stack, request_id, "cluster.accepted")
    last = str(uuid4())
    await ask(stack, {"request_id": last, "name": "-", "spec": None})
    await answered(stack, last, "cluster.rejected")
    found = (await stack.http.get("/v1/clusters", params={"team": "builds", "q": name})).json()["items"]
    assert [cluster["id"] for cluster in found] == [accepted["cluster_id"]]


async def test_two_teams_may_use_the_same_request_id(stack: Stack) -> None:
    request_id, name = str(uuid4()), fresh()
    for team in ("default", "builds"):
        await ask(stack, {"request_id": request_id, "name": name, "spec": ClusterSpec.example}, team)

    async def both() -> bool:
        items = (await stack.http.get("/v1/clusters", params={"q": name})).json()["items"]
        return {cluster["team"] for cluster in items} == {"default", "builds"}

    await eventually(both)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_requests = st.fixed_dictionaries({}, optional=dict.fromkeys(("request_id", "name", "spec", "team"), _json))


async def test_any_payload_is_answered_or_put_aside_and_none_blocks_the_door(stack: Stack) -> None:
    payloads: list[bytes] = [b"", b"{", b"[]", b"null", b"\xff", b'{"request_id": "a\\u0000", "name": 1}']

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(body=_json | _requests)
    def collect(body: Any) -> None:
        payloads.append(json.dumps(body).encode())

    collect()
    await asyncio.gather(*(ask(stack, payload) for payload in payloads))
    last = str(uuid4())
    await ask(stack, {"request_id": last, "name": fresh(), "spec": ClusterSpec.example})
    await answered(stack, last, "cluster.accepted")

    async def drained() -> bool:
        info = await stack.service.bus.js.consumer_info("INTAKE_builds", "api-intake-builds-cluster-requested")
        return info.num_pending == 0 and info.num_ack_pending == 0

    await eventually(drained)
