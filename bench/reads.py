"""How fast a fleet is read over REST: 1,000 clusters with 100,000 nodes, on PostgreSQL. Prints one JSON object.

One api process, asked over kept connections from this one; its store holds the fleet already. A look at each:

    cluster      GET of one cluster, each in turn
    unchanged    the same with the ETag that the client has: 304
    page         the first 100 clusters
    deep_page    100 clusters from the 900th on
    nodes        the first page of one cluster's nodes

of which `a_second`, `p99_ms` and the CPU of the api's process for one (`api_cpu_ms`). The clusters are as they were
when they were looked at before; `first_look_cpu_ms` is what a page takes of clusters that nobody has looked at yet, or
that have all changed since. In the same run the bounds that nothing of this make passes here: a bare aiohttp server
that answers with one cluster's bytes (`bare_http`), and a bare asyncpg loop that reads one cluster's row (`bare_read`).

Goals: cluster >= 1,500 a second, unchanged >= 3,000, page >= 500, deep_page <= 1.2 times as long as page.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
from aiohttp import web
from bench.asked import api_on, cpu_s
from sqlalchemy import insert
from sqlmodel import select
from tests.support import spares
from tests.support.postgres import dsn, postgres

from caravan_api.app import MIGRATIONS
from caravan_api.decide.nodes import NodeState
from caravan_api.store import Cluster, Node, Table
from caravan_shared.contracts.states import MachineState, Verdict
from caravan_shared.plumbing.database import Database

CLUSTERS, NODES = 1000, 100
AT_ONCE = 32
PAGE = 100
GOALS = {"cluster": 1500, "unchanged": 3000, "page": 500}
DEEP_GOAL = 1.2

Ask = Callable[[], Awaitable[None]]


async def measure(seconds: float, folder: Path, url: str) -> dict[str, Any]:
    """Each kind of read for so long, one kind after the other."""
    await _fill(url)
    async with api_on(folder, url, AT_ONCE) as (api, session):
        found = await reads(api, session, url, CLUSTERS, seconds)
    return {**found, "met": met(found)}


async def reads(
    api: psutil.Process, session: aiohttp.ClientSession, url: str, clusters: int, seconds: float
) -> dict[str, Any]:
    """The figures of an api process that has so many clusters in its store at `url`, and the bounds."""
    await _json(session, "/v1/clusters?limit=1")  # a process's first answer makes its OpenAPI document
    before, pages = cpu_s(api), clusters // PAGE - 1
    deep = await _cursor(session, pages)
    first_look_s = cpu_s(api) - before
    first = await _json(session, f"/v1/clusters?limit={PAGE}")
    names, ids = [one["name"] for one in first["items"]], [one["id"] for one in first["items"]]
    asks = {
        "cluster": _each(session, [f"/v1/clusters/{name}" for name in names]),
        "unchanged": _each(session, [f"/v1/clusters/{name}" for name in names], await _etags(session, names)),
        "page": _each(session, [f"/v1/clusters?limit={PAGE}"]),
        "deep_page": _each(session, [f"/v1/clusters?limit={PAGE}{deep}"]),
        "nodes": _each(session, [f"/v1/clusters/{name}/nodes" for name in names]),
    }
    found = {kind: await _rate(ask, seconds, api) for kind, ask in asks.items()}
    found["page"]["first_look_cpu_ms"] = round(first_look_s / max(pages, 1) * 1e3, 3)
    body = json.dumps(await _json(session, f"/v1/clusters/{names[0]}")).encode()
    bounds = {"bare_http": await _bare_http(body, seconds), "bare_read": await _bare_read(url, ids[0], seconds)}
    deep_ratio = round(found["page"]["a_second"] / found["deep_page"]["a_second"], 2)
    return {**found, **bounds, "deep_ratio": deep_ratio}


def met(found: dict[str, Any]) -> dict[str, bool]:
    """Which goals these figures reach."""
    reached = {kind: found[kind]["a_second"] >= goal for kind, goal in GOALS.items()}
    return {**reached, "deep_page": found["deep_ratio"] <= DEEP_GOAL}


def _each(session: aiohttp.ClientSession, paths: list[str], etags: list[str] | None = None) -> Ask:
    """Ask for one after the other, over and over; with `etags`, only for what has changed."""
    known = [{"If-None-Match": etag} for etag in etags] if etags else [{}] * len(paths)
    expected = 304 if etags else 200
    wanted = cycle(zip(paths, known, strict=True))

    async def ask() -> None:
        path, headers = next(wanted)
        async with session.get(path, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == expected, body

    return ask


async def _rate(ask: Ask, seconds: float, process: psutil.Process | None = None) -> dict[str, float]:
    """`AT_ONCE` askers for so long."""
    took: list[float] = []
    began, spent_s = time.perf_counter(), cpu_s(process) if process else 0.0

    async def asker() -> None:
        while (at := time.perf_counter()) < began + seconds:
            await ask()
            took.append(time.perf_counter() - at)

    await asyncio.gather(*(asker() for _ in range(AT_ONCE)))
    wall_s = time.perf_counter() - began
    figures = {
        "a_second": round(len(took) / wall_s, 1),
        "p99_ms": round(statistics.quantiles(took, n=100)[98] * 1e3, 1),
    }
    if process:
        figures["api_cpu_ms"] = round((cpu_s(process) - spent_s) / len(took) * 1e3, 3)
    return figures


# --- the bounds ------------------------------------------------------------------------------------------------------


async def _bare_http(body: bytes, seconds: float) -> dict[str, float]:
    """A server that knows one answer, in a process of its own as the api is."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.reads", "--serve", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdin
    assert server.stdout
    server.stdin.write(body + b"\n")
    port = int(await server.stdout.readline())
    try:
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
            return await _rate(_each(session, ["/"]), seconds)
    finally:
        server.kill()
        await server.wait()


def _serve() -> None:
    """Answer with what stands on standard input; the port goes to standard output."""
    body = sys.stdin.buffer.readline().strip()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(run())


async def _bare_read(url: str, cluster_id: str, seconds: float) -> dict[str, float]:
    """One cluster's row, over as many connections as an api has."""
    async with asyncpg.create_pool(dsn(url), min_size=AT_ONCE // 4, max_size=AT_ONCE // 4) as pool:

        async def ask() -> None:
            assert await pool.fetchrow("SELECT * FROM cluster WHERE id = $1", cluster_id)

        return await _rate(ask, seconds)


# --- the fleet -------------------------------------------------------------------------------------------------------


async def _fill(url: str) -> None:
    """Clusters that are Ready, each with its nodes."""
    await spares.seed(url, pools=1, spares=CLUSTERS)
    db = Database(url, Table.metadata, MIGRATIONS)
    await db.start()
    async with db.transaction() as tx:
        for cluster_id in (await tx.exec(select(Cluster.id))).all():
            await tx.exec(insert(Node), params=[_node(cluster_id, number) for number in range(NODES)])
    await db.stop()


def _node(cluster_id: Any, number: int) -> dict[str, Any]:
    return {
        "cluster_id": cluster_id,
        "name": f"workers-{number}",
        "node_set": "workers",
        "state": NodeState.JOINED.value,
        "machine": MachineState.READY.value,
        "joined": True,
        "address": f"10.0.0.{number}",
        "version": "1.34.2",
        "verdict": Verdict.HEALTHY.value,
        "changed_at": datetime.now(UTC),
    }


async def _json(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _etags(session: aiohttp.ClientSession, names: list[str]) -> list[str]:
    found = []
    for name in names:
        async with session.get(f"/v1/clusters/{name}") as answer:
            found.append(answer.headers["ETag"])
    return found


async def _cursor(session: aiohttp.ClientSession, pages: int) -> str:
    """The part of the query that leads to the page after so many."""
    cursor = ""
    for _ in range(pages):
        page = await _json(session, f"/v1/clusters?limit={PAGE}{cursor}")
        cursor = f"&after={page['next']}"
    return cursor


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each kind of read")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve()
        return
    with tempfile.TemporaryDirectory() as name, postgres() as url:
        figures = asyncio.run(measure(given.seconds, Path(name), url))
    fleet = {"clusters": CLUSTERS, "nodes_in_all": CLUSTERS * NODES, "at_once": AT_ONCE}
    sys.stdout.write(json.dumps({"bench": "reads", **fleet, **figures, "goal": GOALS}) + "\n")


if __name__ == "__main__":
    main()
