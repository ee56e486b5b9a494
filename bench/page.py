"""Render the list of clusters as long as it gets: 1,000 rows. Prints one JSON object.

An api process on a real nats-server and an SQLite file that has the clusters already, each with a day of verdicts; one
browser on loopback, which takes compressed pages.

    cpu_ms      CPU of the api's process for one page, mean: query, rows, template, gzip, HTTP. What the process spends
                in such a time without a page is measured before, and taken off (`idle_share`, of a CPU)
    first_look_cpu_ms   the same of clusters that nobody looked at since they changed or it began; one page
    wire_kib    what goes over the wire for it
    page_kib    what that is unpacked

Goals: cpu_ms <= 150, wire_kib <= 300.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from bench.asked import api_on, busy_share, cpu_s
from sqlmodel import select, update
from tests.support import spares
from tests.support.api_process import TOKEN

from caravan_api.app import MIGRATIONS
from caravan_api.store import Cluster, Table
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import configure_logging

CLUSTERS = 1000
_IDLE_S = 10.0
_OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


async def measure(pages: int, folder: Path) -> dict[str, Any]:
    """The page, so many times."""
    url = f"sqlite+aiosqlite:///{folder}/api.db"
    await _fill(url)
    async with api_on(folder, url, at_once=1) as (api, browser):
        await browser.post("/login", data={"token": TOKEN}, headers=_OWN_PAGE)
        await _page(browser, 1)
        before = cpu_s(api)
        await _page(browser)
        first_look_s = cpu_s(api) - before
        idle_share = await busy_share(api, _IDLE_S)
        before, began = cpu_s(api), time.perf_counter()
        for _ in range(pages):
            page, wire = await _page(browser)
        spent_s = cpu_s(api) - before - idle_share * (time.perf_counter() - began)
    assert page.count(b'<tr id="c-') == CLUSTERS
    return {
        "cpu_ms": round(spent_s / pages * 1000, 1),
        "first_look_cpu_ms": round(first_look_s * 1000, 1),
        "idle_share": round(idle_share, 3),
        "wire_kib": round(wire / 1024, 1),
        "page_kib": round(len(page) / 1024, 1),
    }


async def _page(browser: aiohttp.ClientSession, clusters: int = CLUSTERS) -> tuple[bytes, int]:
    """The page, and its bytes on the wire."""
    query, headers = {"limit": str(clusters)}, {"Accept-Encoding": "gzip"}
    async with browser.get("/clusters", params=query, headers=headers) as answer:
        page = await answer.read()
        assert answer.status == 200, page
        assert answer.headers["Content-Encoding"] == "gzip"
        return page, int(answer.headers["Content-Length"])


async def _fill(url: str) -> None:
    """Clusters as they are after a day: some verdicts each, no two at the same moments, and somebody's access."""
    await spares.seed(url, pools=1, spares=CLUSTERS)
    db = Database(url, Table.metadata, MIGRATIONS)
    await db.start()
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        ids = (await tx.exec(select(Cluster.id))).all()
        for number, cluster_id in enumerate(ids):
            moments = [now - timedelta(hours=22 - 3 * step, seconds=number) for step in range(8)]
            verdicts = [
                {"verdict": "Degraded" if step % 2 else "Healthy", "since": at.isoformat()}
                for step, at in enumerate(moments)
            ]
            values = {"verdicts": verdicts, "accessed_at": moments[-1], "accessed_by": f"person-{number % 40}"}
            await tx.exec(update(Cluster).where(Cluster.id == cluster_id).values(**values))  # type: ignore[arg-type]
    await db.stop()


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=50)
    pages = parser.parse_args().pages
    configure_logging("bench", "WARNING", "text")
    with tempfile.TemporaryDirectory() as name:
        figures = asyncio.run(measure(pages, Path(name)))
    goal = {"cpu_ms": 150, "wire_kib": 300}
    sys.stdout.write(
        json.dumps({"bench": "page", "clusters": CLUSTERS, "pages": pages, **figures, "goal": goal}) + "\n"
    )


if __name__ == "__main__":
    main()
