"""A hundred takers at once, and an api that is killed among them: no spare goes to two, and no lease is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support import spares
from tests.support.api_process import ApiProcess
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

TAKERS = 100
Json = dict[str, Any]


@asynccontextmanager
async def _running(folder: Path, nats: NatsServer, database_url: str) -> AsyncIterator[ApiProcess]:
    api = ApiProcess(folder, nats, database_url)
    await api.start()
    try:
        yield api
    finally:
        await api.kill()
        await api.http.aclose()


async def _take(api: ApiProcess, pool: str, taker: int) -> Json:
    """One taker's lease; the same however often it has to be asked for."""
    headers = {"Idempotency-Key": f"taker-{taker}"}
    answer = await api.insist("POST", f"/pools/{pool}/leases", json={"purpose": f"taker {taker}"}, headers=headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("kills", [0, pytest.param(5, marks=pytest.mark.faults)])
async def test_a_hundred_takers_at_once_get_each_spare_once_also_when_the_api_dies_among_them(
    tmp_path: Path, nats_server: NatsServer, database_url: str, kills: int
) -> None:
    (pool,) = await spares.seed(database_url, pools=1, spares=60)
    async with _running(tmp_path, nats_server, database_url) as api:
        taking = [asyncio.create_task(_take(api, pool, taker)) for taker in range(TAKERS)]
        for _ in range(kills):
            await asyncio.sleep(0.3)  # some have their lease by now, others are in the middle of it
            await api.kill()
            await api.start()
        leases = await asyncio.gather(*taking)
        assert len({lease["id"] for lease in leases}) == TAKERS

        async def settled() -> list[Json] | None:
            found = (await api.insist("GET", "/leases", params={"limit": 500})).json()["items"]
            return found if Counter(each["state"] for each in found)["Held"] == 60 else None

        found = await eventually(settled, within=20, saying="sixty are served")
        assert found
        assert sorted(lease["id"] for lease in found) == sorted(lease["id"] for lease in leases), "one lost, or doubled"
        clusters = Counter(lease["cluster_id"] for lease in found if lease["state"] == "Held")
        assert max(clusters.values()) == 1
        assert Counter(lease["state"] for lease in found) == {"Held": 60, "Waiting": 40}
