"""Streams: every change as it is committed, and nothing lost across a break."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from caravan_api.access import Role
from tests.integration.api.conftest import Stack, ready_facts, running
from tests.support.nats import NatsServer


@asynccontextmanager
async def reading(http: httpx.AsyncClient, path: str, last_id: int | None = None) -> AsyncIterator[AsyncIterator[Any]]:
    """The events of a stream as (id, event, data); a heartbeat as None."""
    headers = {"Last-Event-ID": str(last_id)} if last_id is not None else {}
    async with http.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events(response)


async def events(response: httpx.Response) -> AsyncIterator[tuple[int, str, dict[str, Any]] | None]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


async def test_a_stream_begins_with_the_cluster_and_tells_every_change(stack: Stack) -> None:
    cluster = await stack.create()
    async with reading(stack.http, f"/v1/clusters/{cluster['id']}/events") as stream:
        first = await anext(stream)
        assert first
        assert (first[1], first[2]["phase"]) == ("cluster", "Requested")
        await stack.tell(*ready_facts(cluster))
        phases, kinds = [], set()
        async for event in stream:
            if event is None:
                continue
            _, name, data = event
            if name == "timeline":
                kinds.add(data["kind"])
            else:
                phases.append(data["phase"])
                if data["phase"] == "Ready":
                    break
    assert {"machines", "bootstrap", "phase"} <= kinds
    assert phases[-1] == "Ready"


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(stack: Stack) -> None:
    cluster = await stack.create()
    path = f"/v1/clusters/{cluster['id']}/events"
    async with reading(stack.http, path) as stream:
        first = await anext(stream)
    assert first
    await stack.make_ready(cluster)
    timeline = (await stack.http.get(f"/v1/clusters/{cluster['id']}/timeline")).json()["items"]
    missed = sorted(entry["id"] for entry in timeline if entry["id"] > first[0])
    seen: list[int] = []
    async with reading(stack.http, path, first[0]) as stream:
        async for event in stream:
            if event and event[1] == "timeline":
                seen.append(event[0])
            if seen and seen[-1] >= missed[-1]:
                break
    assert seen == missed


async def test_a_quiet_stream_sends_heartbeats(stack: Stack) -> None:
    async with stack.speaking_as(Role.VIEWER, "quiet") as outsider, reading(outsider, "/v1/events") as stream:
        assert [await anext(stream) for _ in range(3)] == [None, None, None]


async def test_an_api_that_stops_ends_its_streams(tmp_path: Path, nats_server: NatsServer) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        async with running(tmp_path, nats_server) as one:
            url = f"http://127.0.0.1:{one.service.http_port}/v1/events"
            request = client.build_request("GET", url, headers=dict(one.http.headers))
            response = await client.send(request, stream=True)
        lines = [line async for line in response.aiter_lines()]
        assert lines[0].startswith(":")
