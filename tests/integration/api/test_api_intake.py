"""Requests as events: the same admission, one answer a request, and never a stuck door."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.js.errors import NotFoundError
from typer.testing import CliRunner

from caravan_api.desired import Desired
from caravan_cli.main import app
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.streams import PROGRESS
from tests.integration.api.conftest import ADMIN, Stack, fresh, running
from tests.support.eventually import eventually
from tests.support.nats import NatsServer


async def ask(stack: Stack, body: Any, team: str = "builds") -> None:
    """Publish a request as a team would: with no headers of ours."""
    subject = f"intake.{team}.cluster.requested"
    await stack.service.bus.js.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode())


async def answered(stack: Stack, request_id: str, subject: str, team: str = "builds") -> dict[str, Any]:
    """The answer to a request, as its team is told it."""

    async def look() -> dict[str, Any] | None:
        try:
            message = await stack.service.bus.js.get_last_msg(PROGRESS, f"progress.{team}.{subject}")
        except NotFoundError:
            return None
        body: dict[str, Any] = json.loads(message.data or b"{}")
        return body if body["request_id"] == request_id else None

    return await eventually(look)


async def rejections(stack: Stack, team: str) -> list[dict[str, Any]]:
    """All that a team was told of what it asked for in vain."""
    subject = f"progress.{team}.cluster.rejected"
    found: list[dict[str, Any]] = []
    sequence = 1
    with suppress(NotFoundError):
        while True:
            message = await stack.service.bus.js.get_msg(PROGRESS, seq=sequence, subject=subject, next=True)
            found.append(json.loads(message.data or b"{}"))
            sequence = int(message.seq or 0) + 1
    return found


async def letters(stack: Stack, team: str) -> list[dict[str, Any]]:
    """What a team sent and could not be taken, as operators see it."""
    items = (await stack.http.get("/v1/dead-letters", params={"limit": 500})).json()["items"]
    return [item for item in items if item["subject"] == f"intake.{team}.cluster.requested"]


async def settled(stack: Stack, team: str) -> None:
    """Wait until all that a team asked is handled."""

    async def drained() -> bool:
        durable = f"api-intake-{team}-cluster-requested"
        info = await stack.service.bus.js.consumer_info(f"INTAKE_{team}", durable)
        return info.num_pending == 0 and info.num_ack_pending == 0

    await eventually(drained)


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
    await settled(stack, "builds")


UNREADABLE = {
    "nothing": (b"", ""),
    "no JSON": (b"{not json", ""),
    "no UTF-8": (b'{"request_id": "\xff"}', ""),
    "no object": (b'["request_id"]', ""),
    "nested too deep": (b"[" * 20_000, ""),
    "no id": (b'{"name": "demo"}', "request_id"),
    "an id of another type": (b'{"request_id": 7, "name": "demo"}', "request_id"),
    "an id that cannot be shown": (b'{"request_id": "a\\u0000", "name": "demo"}', "request_id"),
}


async def test_what_cannot_be_read_or_names_no_id_is_answered_and_kept_once(
    api_nats: NatsServer, tmp_path: Path
) -> None:
    async with running(tmp_path, api_nats) as stack:
        await stack.add_team("garblers")
        for number, (body, _field) in enumerate(UNREADABLE.values()):
            headers = {"Nats-Msg-Id": f"m-{number}", "content-type": "application/json"}
            await stack.service.bus.js.publish("intake.garblers.cluster.requested", body, headers=headers)

        async def all_kept() -> bool:
            return len(await letters(stack, "garblers")) == len(UNREADABLE)

        await eventually(all_kept)
        told = await eventually(lambda: _all_told(stack, "garblers", len(UNREADABLE)))
        fields = {one["request_id"]: [problem["field"] for problem in one["problems"]] for one in told}
        assert fields == {f"message-m-{number}": [field] for number, (_, field) in enumerate(UNREADABLE.values())}
        assert all(problem["remedy"] for one in told for problem in one["problems"])

        first = (await letters(stack, "garblers"))[0]
        assert (await stack.http.post(f"/v1/dead-letters/{first['id']}/replay")).status_code == 202
        await eventually(all_kept, saying="it is still unreadable, so it is put aside again")
        await settled(stack, "garblers")
        assert len(await rejections(stack, "garblers")) == len(UNREADABLE), "the team was told already"


async def _all_told(stack: Stack, team: str, count: int) -> list[dict[str, Any]] | None:
    told = await rejections(stack, team)
    return told if len(told) == count else None


async def test_wrong_types_beside_an_id_are_answered_field_by_field_and_not_kept(stack: Stack) -> None:
    request_id, before = str(uuid4()), len(await letters(stack, "builds"))
    await ask(stack, {"request_id": request_id, "name": 7, "spec": ["1.34.2"]})
    rejected = await answered(stack, request_id, "cluster.rejected")
    assert {problem["field"] for problem in rejected["problems"]} == {"name", "spec"}
    await settled(stack, "builds")
    assert len(await letters(stack, "builds")) == before


async def test_mended_letter_is_handled_like_any_request(stack: Stack) -> None:
    request_id, name = str(uuid4()), fresh()
    broken = f'{{"request_id": "{request_id}", "name": "{name}", "spec": {{"version": "1.34.2"}}'
    await ask(stack, broken.encode())
    letter = await eventually(lambda: _letter(stack, broken))
    replayed = await stack.http.post(f"/v1/dead-letters/{letter['id']}/replay", json={"body": f"{broken}}}"})
    assert replayed.status_code == 202
    accepted = await answered(stack, request_id, "cluster.accepted")
    assert (accepted["name"], accepted["team"]) == (name, "builds")
    assert await _letter(stack, broken) is None


async def test_letter_is_replayed_on_the_command_line_once_its_cause_is_gone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defect(*_arguments: Any) -> None:
        raise GiveUp("a defect of ours", who_can_fix=WhoCanFix.OPERATOR)

    request_id, name = str(uuid4()), fresh()
    body = json.dumps({"request_id": request_id, "name": name, "spec": ClusterSpec.example})
    with monkeypatch.context() as broken:
        broken.setattr(Desired, "create", defect)
        await ask(stack, body.encode())
        letter = await eventually(lambda: _letter(stack, body))
    assert letter["reason"] == "a defect of ours"
    words = ["--url", str(stack.http.base_url), "--token", ADMIN, "dead-letters"]
    listed = await asyncio.to_thread(CliRunner().invoke, app, [*words, "list", "-o", "json"])
    assert request_id in listed.stdout
    replayed = await asyncio.to_thread(CliRunner().invoke, app, [*words, "replay", str(letter["id"])])
    assert replayed.exit_code == 0, replayed.output
    accepted = await answered(stack, request_id, "cluster.accepted")
    assert accepted["name"] == name
    await ask(stack, body.encode())
    await settled(stack, "builds")
    found = (await stack.http.get("/v1/clusters", params={"team": "builds", "q": name})).json()["items"]
    assert len(found) == 1, "it is one request, replayed or repeated"


async def test_a_team_that_comes_while_the_api_runs_is_listened_to_once(stack: Stack) -> None:
    team = fresh("late")
    await stack.add_team(team)
    await ask(stack, {"request_id": "first", "name": "-", "spec": {}}, team)
    await answered(stack, "first", "cluster.rejected", team)
    await asyncio.sleep(1)  # it looks several times
    durables = [subscription.durable for subscription in stack.service.bus.subscriptions]
    assert len(durables) == len(set(durables))


async def _letter(stack: Stack, body: str) -> dict[str, Any] | None:
    return next((letter for letter in await letters(stack, "builds") if letter["body"] == body), None)
