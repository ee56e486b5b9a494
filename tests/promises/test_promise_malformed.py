"""Malformed input is refused clearly: no request is answered by a defect, no event stops what comes after it."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from caravan_api.handlers import CLUSTER_FACTS
from caravan_shared.contracts.events import NodesJoined
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.public import ClusterWanted
from caravan_shared.plumbing.dead_letters import list_dead_letters
from caravan_shared.plumbing.streams import FACTS, intake_stream
from tests.integration.api.conformity import probe
from tests.integration.api.conftest import (
    Stack,
    api_nats,
    dns,
    inventory,
    inventory_db,
    provisioner,
    running,
    runs,
    stack,
)
from tests.promises.bus import nothing_waits
from tests.promises.sizes import CASES_A_ROUTE, EVENTS_FUZZED, HALF_A_CHARACTER
from tests.promises.spoiling import meddled, spoilt
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

__all__ = ["api_nats", "dns", "inventory", "inventory_db", "provisioner", "runs", "stack"]  # of the api's own tests

TEAM = "builds"
AT_ONCE = 50
LOOK_EVERY = 1_000
HEARD_WITHIN_S = 120.0
AT_ONCE_S = 10.0
"""What is no defect of ours that could pass is put aside without a second try."""


# The api runs in this process: what its jitter draws while a case is being made is taken for the strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.usefixtures("dns", "inventory", "provisioner", "runs")
@pytest.mark.promises(CASES_A_ROUTE)
async def test_requests_that_do_not_fit_are_answered_as_documented(trial: Trial, stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    url = f"http://127.0.0.1:{stack.service.http_port}/openapi.json"
    trial.figures["requests"] = await asyncio.to_thread(probe, url, cluster["id"], trial.asked, trial.seed)
    trial.did(trial.asked)


@pytest.mark.promises(EVENTS_FUZZED)
async def test_events_that_do_not_fit_stop_nothing_that_comes_after_them(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    kinds: Sequence[type[Event]] = (*CLUSTER_FACTS, ClusterWanted)
    async with running(tmp_path, nats_server) as api:
        await api.offer()
        await api.add_team(TEAM)
        clusters = [await api.create() for _ in range(5)]
        while trial.goes_on:
            about = [trial.dice.choice(clusters)["id"] for _ in range(AT_ONCE)]
            await asyncio.gather(*(_publish(trial, api, trial.dice.choice(kinds), cluster_id) for cluster_id in about))
            trial.did(AT_ONCE)
            if trial.done % LOOK_EVERY == 0 or not trial.goes_on:
                await _all_is_heard(api)
        async with api.client(None) as http:
            assert (await http.get("/readyz")).status_code == 200
        await api.make_ready(await api.create())


async def _all_is_heard(api: Stack) -> None:
    for stream in (FACTS, intake_stream(TEAM)):
        await eventually(
            partial(nothing_waits, api.service.bus, stream),
            within=HEARD_WITHIN_S,
            every=0.5,
            saying=f"all of {stream} is handled or put aside",
        )


@pytest.mark.promises(HALF_A_CHARACTER)
async def test_an_event_with_half_a_character_is_put_aside_at_once(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    async with running(tmp_path, nats_server) as api:
        await api.offer()
        cluster = await api.create()
        nodes = [{"name": "\ud800", "node_set": "workers"}]
        body = json.dumps({**NodesJoined.example, "cluster_id": cluster["id"], "nodes": nodes}).encode()
        await api.service.bus.js.publish(NodesJoined.subject, body)
        await asyncio.sleep(AT_ONCE_S)
        letters = await list_dead_letters(api.service.bus)
    assert letters, "it is not put aside"
    trial.did()


async def _publish(trial: Trial, api: Stack, kind: type[Event], cluster_id: str) -> None:
    body = json.loads(json.dumps(kind.example))
    if "cluster_id" in body:
        body["cluster_id"] = cluster_id
    wrong = meddled if trial.dice.random() < 0.8 else _spoilt
    subject = f"intake.{TEAM}.{kind.subject}" if kind is ClusterWanted else kind.subject
    await api.service.bus.js.publish(subject, wrong(trial.dice, body))


def _spoilt(dice: Any, body: dict[str, Any]) -> bytes:
    return spoilt(dice, body, "fuzz")
