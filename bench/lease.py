"""Take a lease: what it takes with 100 takers, on PostgreSQL. Prints one JSON object.

An api process on a real nats-server and PostgreSQL, over HTTP; the spares are in its store already, and an answer means
that the lease is committed.

    p50_ms p99_ms       of one take while takes come at `offered_a_second`, each taker in turn
    leases_a_second     with all takers as fast as they are answered
    doubles             spares that two takers got
    api_cpu_ms          CPU of the api's process for one take at the steady rate, from /proc
    rushed_api_cpu_ms   the same with all takers at once

Goals: p50 <= 10 ms, p99 <= 50 ms, >= 300 leases a second, no doubles.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
from bench.asked import api_on, cpu_s
from tests.support import spares
from tests.support.postgres import postgres

TAKERS = 100
POOLS = 10
OFFERED_A_SECOND = 50  # half of what two busy cores carry: a queue that grows for ever has no median


@dataclass
class Taken:
    """What the takers got."""

    clusters: Counter[str] = field(default_factory=Counter)
    ms: list[float] = field(default_factory=list)


async def measure(takes: int, folder: Path, url: str) -> dict[str, Any]:
    """`takes` at a steady rate, then as many as fast as possible."""
    pools = await spares.seed(url, pools=POOLS, spares=2 * takes // POOLS)
    async with api_on(folder, url, TAKERS) as (api, session):
        take = _Taker(session, pools)
        before = cpu_s(api)
        began = time.perf_counter()
        steady = Taken()
        async with asyncio.TaskGroup() as group:
            for number in range(takes):
                due = began + number / OFFERED_A_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(take(steady))
        spent_s = cpu_s(api) - before
        rushed, before, began = Taken(), cpu_s(api), time.perf_counter()
        left = iter(range(takes))

        async def taker() -> None:
            for _ in left:
                await take(rushed)

        await asyncio.gather(*(taker() for _ in range(TAKERS)))
        rushed_s, rushed_cpu_s = time.perf_counter() - began, cpu_s(api) - before
    cuts = statistics.quantiles(steady.ms, n=100)
    together = steady.clusters + rushed.clusters
    return {
        "offered_a_second": OFFERED_A_SECOND,
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
        "leases_a_second": round(takes / rushed_s, 1),
        "rushed_p50_ms": round(statistics.median(rushed.ms), 1),
        "doubles": sum(count - 1 for count in together.values()),
        "api_cpu_ms": round(1000 * spent_s / takes, 2),
        "rushed_api_cpu_ms": round(1000 * rushed_cpu_s / takes, 2),
    }


class _Taker:
    """Takes of the pools in turn."""

    def __init__(self, session: aiohttp.ClientSession, pools: list[str]) -> None:
        self._session, self._pools = session, cycle(pools)

    async def __call__(self, into: Taken) -> None:
        began = time.perf_counter()
        async with self._session.post(f"/v1/pools/{next(self._pools)}/leases", json={}) as answer:
            lease = await answer.json()
            assert answer.status == 201, lease
        into.ms.append((time.perf_counter() - began) * 1000)
        assert lease["state"] == "Held", lease
        into.clusters[lease["cluster_id"]] += 1


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takes", type=int, default=2000)
    takes = parser.parse_args().takes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with postgres() as url:
            figures = asyncio.run(measure(takes, folder, url))
    goal = {"p50_ms": 10, "p99_ms": 50, "leases_a_second": 300, "doubles": 0}
    sys.stdout.write(json.dumps({"bench": "lease", "takers": TAKERS, "takes": takes, **figures, "goal": goal}) + "\n")


if __name__ == "__main__":
    main()
