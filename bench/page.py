"""Render the list of clusters as long as it gets: 1,000 rows. Prints one JSON object.

An api in this process, on a real nats-server and an SQLite file that has the clusters already, each with a day of
verdicts; one browser on loopback, which takes compressed pages and does not unpack them.

    cpu_ms      CPU of this process for one page, median: query, rows, template, gzip, HTTP on both sides
    wire_kib    what goes over the wire for it
    page_kib    what that is unpacked

Goals: cpu_ms <= 150, wire_kib <= 300.
"""

import argparse
import asyncio
import gzip
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from sqlmodel import select, update
from tests.support import spares
from tests.support.nats import NatsServer, free_port

from caravan_api.app import MIGRATIONS, build
from caravan_api.settings import Settings
from caravan_api.store import Cluster, Table
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import configure_logging

CLUSTERS = 1000
_TOKEN = "the-bench"  # of a server that lives for a minute
_IDLE_S = 0.05  # of CPU in a second: what an api takes that nobody asks for anything
_OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


async def measure(pages: int, folder: Path) -> dict[str, Any]:
    """The page, so many times."""
    nats = NatsServer(folder / "nats")
    nats.start()
    url = f"sqlite+aiosqlite:///{folder}/api.db"
    await _fill(url)
    service = build(
        Settings(state_dir=folder, nats_url=nats.url, http_port=free_port(), database_url=url, bootstrap_token=_TOKEN)
    )
    try:
        async with service.running():
            home = f"http://127.0.0.1:{service.http_port}"
            jar = aiohttp.CookieJar(unsafe=True)  # which keeps cookies of an address too
            async with aiohttp.ClientSession(home, cookie_jar=jar, auto_decompress=False) as browser:
                await browser.post("/login", data={"token": _TOKEN}, headers=_OWN_PAGE)
                await _settled()
                cpu_ms, body = [], b""
                for _ in range(pages):
                    began = time.process_time()
                    body = await _page(browser)
                    cpu_ms.append((time.process_time() - began) * 1000)
    finally:
        nats.stop()
    page = gzip.decompress(body)
    assert page.count(b'<tr id="c-') == CLUSTERS
    return {
        "cpu_ms": round(statistics.median(cpu_ms), 1),
        "wire_kib": round(len(body) / 1024, 1),
        "page_kib": round(len(page) / 1024, 1),
    }


async def _page(browser: aiohttp.ClientSession) -> bytes:
    query, headers = {"limit": str(CLUSTERS)}, {"Accept-Encoding": "gzip"}
    async with browser.get("/clusters", params=query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


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


async def _settled() -> None:
    """Until the api's first look at all that is in its store is over."""
    while True:
        before = time.process_time()
        await asyncio.sleep(1)
        if time.process_time() - before < _IDLE_S:
            return


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=20)
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
