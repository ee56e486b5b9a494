"""Commit to handler: how long after a service's commit another's handler has the event. Prints one JSON object.

One real service on a real nats-server (JetStream, every write synced) and SQLite files; events one at a time, so the
figure is the path itself: outbox, relay, stream, pull, decoding, transaction begun. Goal: p50 <= 5 ms, p99 <= 25 ms.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.nats import NatsServer
from tests.support.store import create_tables

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.database import service_metadata
from caravan_shared.plumbing.log import configure_logging
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.settings import ServiceSettings, settings_config


class Settings(ServiceSettings):
    """The bench's own service."""

    model_config = settings_config("bench")


async def measure(events: int, folder: Path) -> dict[str, float]:
    """Say `events` one after the other; milliseconds from commit to handler."""
    server = NatsServer(folder / "nats")
    server.start()
    settings = Settings(state_dir=folder, nats_url=server.url)
    metadata = service_metadata()
    await create_tables(settings.database_url, metadata)
    service = Service("bench", settings, metadata=metadata, migrations=folder)
    arrived: dict[UUID, asyncio.Future[float]] = {}

    async def handle(heard: Heard[BootstrapDone], tx: AsyncSession) -> None:
        arrived[heard.event.cluster_id].set_result(time.perf_counter())

    service.hears(BootstrapDone, handle)
    delays = []
    async with service.running():
        for _ in range(events):
            event = BootstrapDone(cluster_id=uuid4(), generation=1, version="1.34.2", nodes=1)
            arrived[event.cluster_id] = asyncio.get_running_loop().create_future()
            async with service.db.transaction() as tx:
                await say(tx, event)
            committed = time.perf_counter()
            delays.append((await arrived[event.cluster_id] - committed) * 1000)
    server.stop()
    cuts = statistics.quantiles(delays, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


def main() -> None:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    events = parser.parse_args().events
    configure_logging("bench", "ERROR", "text")
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(events, Path(folder)))
    print(json.dumps({"bench": "latency", "events": events, **figures, "goal": {"p50_ms": 5, "p99_ms": 25}}))


if __name__ == "__main__":
    main()
