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

pytestmark = pytest.mark.long

TAKERS = 100
Json = dict[str, Any]


TEAMS = ("red", "blue")


@asynccontextmanager
async def _running(folder: Path, nats: NatsServer, database_url: str) -> AsyncIterator[ApiProcess]:
    api = ApiProcess(folder, nats, database_url)
    await api.start()
    for team in TEAMS:
        await api.insist("POST", "/teams", json={"name": team})
    try:
        yield api
    finally:
        api.kill()
        await api.http.aclose()


async def _take(api: ApiProcess, pool: str, taker: int, team: str = spares.TEAM) -> Json:
    """One taker's lease, for a team; the same however often it has to be asked for."""
    headers, query = {"Idempotency-Key": f"{team}-{taker}"}, {"team": team}
    wish = {"purpose": f"taker {taker}"}
    answer = await api.insist("POST", f"/pools/{pool}/leases", json=wish, headers=headers, params=query)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("kills", [0, 5])
async def test_a_hundred_takers_at_once_get_each_spare_once_also_when_the_api_dies_among_them(
    tmp_path: Path, nats_server: NatsServer, database_url: str, kills: int
) -> None:
    (pool,) = await spares.seed(database_url, pools=1, spares=60)
    async with _running(tmp_path, nats_server, database_url) as api:
        taking = [asyncio.create_task(_take(api, pool, taker)) for taker in range(TAKERS)]
        for _ in range(kills):
            await asyncio.sleep(0.3)  # some have their lease by now, others are in the middle of it
            api.kill()
            await api.start()
        leases = await asyncio.gather(*taking)
        assert len({lease["id"] for lease in leases}) == TAKERS

        async def settled() -> list[Json] | None:
            found = await _leases(api)
            return found if _held(found).total() == 60 else None

        found = await eventually(settled, saying="sixty are served")
        assert sorted(lease["id"] for lease in found) == sorted(lease["id"] for lease in leases), "one lost, or doubled"
        clusters = Counter(lease["cluster_id"] for lease in found if lease["state"] == "Held")
        assert max(clusters.values()) == 1
        assert Counter(lease["state"] for lease in found) == {"Held": 60, "Waiting": 40}


@pytest.mark.parametrize("kills", [0, 5])
async def test_two_teams_at_once_get_no_spare_twice_and_neither_more_than_its_quota(
    tmp_path: Path, nats_server: NatsServer, database_url: str, kills: int
) -> None:
    (pool,) = await spares.seed(database_url, pools=1, spares=60, shared_with=["*"], max_leases_per_team=20)
    async with _running(tmp_path, nats_server, database_url) as api:
        taking = [asyncio.create_task(_take(api, pool, taker, team)) for taker in range(TAKERS // 2) for team in TEAMS]
        for _ in range(kills):
            await asyncio.sleep(0.3)
            api.kill()
            await api.start()
        leases = await asyncio.gather(*taking)
        assert len({lease["id"] for lease in leases}) == TAKERS

        async def settled() -> list[Json] | None:
            found = await _leases(api)
            return found if _held(found).total() >= 40 else None

        found = await eventually(settled, saying="both have their quota")
        assert _held(found) == {"red": 20, "blue": 20}
        assert max(Counter(lease["cluster_id"] for lease in found if lease["state"] == "Held").values()) == 1
        assert sorted(lease["id"] for lease in found) == sorted(lease["id"] for lease in leases), "one lost, or doubled"


async def test_a_team_that_came_late_with_few_is_served_as_well_as_one_that_came_early_with_many(
    tmp_path: Path, nats_server: NatsServer, database_url: str
) -> None:
    """Spares get fit only when everybody waits: red came first with sixty, blue last with thirty."""
    (pool,) = await spares.seed(database_url, pools=1, spares=40, tested=False, shared_with=["*"])
    async with _running(tmp_path, nats_server, database_url) as api:
        await asyncio.gather(*(_take(api, pool, taker, "red") for taker in range(60)))
        await asyncio.gather(*(_take(api, pool, taker, "blue") for taker in range(29)))
        await spares.pass_smoke_tests(database_url)
        await _take(api, pool, 29, "blue")  # which wakes the pool

        async def settled() -> list[Json] | None:
            found = await _leases(api)
            return found if _held(found).total() == 40 else None

        found = await eventually(settled, saying="forty are served")
        assert _held(found) == {"red": 20, "blue": 20}
        red = [lease for lease in sorted(found, key=lambda each: each["asked_at"]) if lease["team"] == "red"]
        assert [lease["state"] for lease in red] == ["Held"] * 20 + ["Waiting"] * 40, "first come, first served"


async def _leases(api: ApiProcess) -> list[Json]:
    return list((await api.insist("GET", "/leases", params={"limit": 500})).json()["items"])


def _held(leases: list[Json]) -> Counter[str]:
    return Counter(lease["team"] for lease in leases if lease["state"] == "Held")
