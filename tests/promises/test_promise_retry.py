"""A retry over REST is safe: sent twice it is done once, and who saw an older state overwrites nobody."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from caravan_shared.contracts.spec import ClusterSpec
from tests.integration.api.conftest import Stack, fresh, running
from tests.promises.sizes import LOST_UPDATES, REPEATED_REQUESTS
from tests.promises.trial import Trial
from tests.support.nats import NatsServer

CLUSTERS = 5
MOST_TIMES = 5
MOST_WRITERS = 6
ONE_NEW_IN = 10
"""Most operations change clusters; each that makes one leaves another for the api to announce."""

Json = dict[str, Any]


@pytest.fixture
async def api(tmp_path: Path, nats_server: NatsServer) -> AsyncIterator[Stack]:
    """An api of the test's own, so that all that is in it can be counted."""
    async with running(tmp_path, nats_server) as stack:
        await stack.offer()
        yield stack


@pytest.mark.promises(REPEATED_REQUESTS)
async def test_an_operation_sent_several_times_at_once_under_one_key_is_one_operation(trial: Trial, api: Stack) -> None:
    clusters = [await api.create() for _ in range(CLUSTERS)]
    generations = {cluster["id"]: cluster["generation"] for cluster in clusters}
    sent = 0
    while trial.goes_on:
        request = _create() if trial.dice.randrange(ONE_NEW_IN) == 0 else await _scale(api, trial, clusters)
        answers = await _at_once(api, trial.dice.randint(2, MOST_TIMES), request)
        assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
        told = {(answer.json()["id"], answer.json()["generation"], answer.headers["ETag"]) for answer in answers}
        assert len(told) == 1, "the same request was answered differently"
        ((cluster_id, generation, _),) = told
        assert generation == generations.get(cluster_id, 0) + 1, "done more than once, or not at all"
        generations[cluster_id] = generation
        sent += len(answers)
        trial.did()
    trial.figures |= {"requests": sent, "clusters": len(generations)}
    assert await _count(api) == len(generations), "a cluster too many, or one too few"
    for cluster in clusters:
        assert (await api.get(cluster))["generation"] == generations[cluster["id"]]


@pytest.mark.promises(LOST_UPDATES)
async def test_of_writers_who_saw_the_same_state_one_writes_and_the_others_are_told(trial: Trial, api: Stack) -> None:
    cluster = await api.create()
    path = f"/v1/clusters/{cluster['id']}"
    while trial.goes_on:
        seen = await api.get(cluster)
        before = seen["spec"]["workers"][0]["count"]
        counts = trial.dice.sample([count for count in range(1, 40) if count != before], MOST_WRITERS)
        writers = counts[: trial.dice.randint(2, MOST_WRITERS)]
        patches = [{"spec": {"workers": [{**seen["spec"]["workers"][0], "count": count}]}} for count in writers]
        answers = await asyncio.gather(
            *(api.http.patch(path, json=patch, headers={"If-Match": seen["etag"]}) for patch in patches)
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {202: 1, 412: len(writers) - 1}, [answer.text for answer in answers]
        (written,) = (count for count, answer in zip(writers, answers, strict=True) if answer.status_code == 202)
        assert (await api.get(cluster))["spec"]["workers"][0]["count"] == written, "an update was lost"
        assert (await api.http.patch(path, json=patches[0])).status_code == 428, "who says no state may not write"
        trial.did()


async def _at_once(api: Stack, times: int, request: Json) -> list[httpx.Response]:
    headers = {"Idempotency-Key": str(uuid4()), **request.pop("headers", {})}
    return await asyncio.gather(*(api.http.request(**request, headers=headers) for _ in range(times)))


def _create() -> Json:
    return {"method": "POST", "url": "/v1/clusters", "json": {"name": fresh(), "spec": ClusterSpec.example}}


async def _scale(api: Stack, trial: Trial, clusters: list[Json]) -> Json:
    """Another number of workers for one of the clusters, by somebody who has just looked."""
    seen = await api.get(trial.dice.choice(clusters))
    (workers,) = seen["spec"]["workers"]
    count = trial.dice.choice([count for count in range(1, 10) if count != workers["count"]])
    body = {"spec": {"workers": [{**workers, "count": count}]}}
    path = f"/v1/clusters/{seen['id']}"
    return {"method": "PATCH", "url": path, "json": body, "headers": {"If-Match": seen["etag"]}}


async def _count(api: Stack) -> int:
    query: Json = {"limit": 500}
    found = 0
    while True:
        page = (await api.http.get("/v1/clusters", params=query)).json()
        found += len(page["items"])
        if not page["next"]:
            return found
        query["after"] = page["next"]
