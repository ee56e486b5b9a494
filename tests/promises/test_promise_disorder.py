"""Duplicates and disorder are harmless: shuffled, repeated and late, the same facts end in the same state."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.streams import FACTS
from tests.integration.api.bare_store import bare_store, facts_of
from tests.integration.api.conftest import Stack, ready_facts, running
from tests.promises.bus import nothing_waits
from tests.promises.sizes import EVENTS_IN_DISORDER, FACTS_IN_DISORDER
from tests.promises.trial import Trial
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.publishing import publish

MOST_TIMES = 5
LATEST = timedelta(hours=48)
OF_ITSELF = ("id", "name", "etag", "created_at", "updated_at", "since", "changed_at", "expires_at", "cluster_id")
"""Fields of a cluster in which it may differ from its sibling."""


@pytest.mark.promises(FACTS_IN_DISORDER)
async def test_facts_shuffled_repeated_and_days_late_end_in_the_same_rows(trial: Trial, tmp_path: Path) -> None:
    """Without the inbox, which knows a repeated event: here each copy takes effect."""
    async with bare_store(f"sqlite+aiosqlite:///{tmp_path}/api.db") as store:
        first = await store.create()
        for sequence, event in await facts_of(store, first):
            await store.hear(sequence, event)
        expected = await store.view(first)
        assert expected["phase"] == "Ready"
        clusters = 0
        while trial.goes_on:
            cluster_id = await store.create()
            told = _disorder(trial, await facts_of(store, cluster_id))
            for sequence, event in told:
                store.clock.time += trial.dice.uniform(0, 2) * LATEST / len(told)
                await store.hear(sequence, event)
            assert await store.view(cluster_id) == expected
            trial.did(len(told))
            clusters += 1
    trial.figures["clusters"] = clusters


@pytest.mark.promises(EVENTS_IN_DISORDER)
async def test_events_shuffled_and_repeated_on_the_bus_end_in_the_same_answers(
    trial: Trial, tmp_path: Path, nats_server: NatsServer
) -> None:
    """Some copies keep their id, as a redelivery does; the others have a new one, so that no inbox knows them."""
    async with running(tmp_path, nats_server) as stack:
        await stack.offer()
        first = await stack.make_ready(await stack.create())
        expected = await _view(stack, first)
        while trial.goes_on:
            cluster = await stack.create()
            told = _disorder(trial, list(enumerate(ready_facts(cluster), start=1)))
            ids = {sequence: str(uuid4()) for sequence, _ in told}
            for sequence, event in told:
                event_id = ids[sequence] if trial.dice.random() < 0.5 else str(uuid4())
                at = datetime.now(UTC) - trial.dice.uniform(0, 1) * LATEST
                await publish(stack.service.bus, event, sequence, event_id=event_id, at=at, message_id=str(uuid4()))
            await eventually(lambda: nothing_waits(stack.service.bus, FACTS), saying="the api has heard everything")
            assert await _view(stack, cluster) == expected
            trial.did(len(told))


def _disorder(trial: Trial, facts: list[tuple[int, Event]]) -> list[tuple[int, Event]]:
    told = [fact for fact in facts for _ in range(trial.dice.randint(1, MOST_TIMES))]
    trial.dice.shuffle(told)
    return told


async def _view(stack: Stack, cluster: dict[str, Any]) -> Any:
    """What people see of a cluster and its nodes, but for what is its own."""
    nodes = (await stack.http.get(f"/v1/clusters/{cluster['id']}/nodes")).json()
    text = json.dumps([await stack.get(cluster), nodes]).replace(cluster["name"], "same")
    return _without(json.loads(text))


def _without(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without(inner) for name, inner in value.items() if name not in OF_ITSELF}
        case list():
            return [_without(inner) for inner in value]
    return value
