"""The bootstrapper's runs for tests of what shows them: its store, its own answers from there, and runs that ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from caravan_bootstrapper import logs
from caravan_bootstrapper.app import MIGRATIONS
from caravan_bootstrapper.reading import Reading
from caravan_bootstrapper.store import Run, Table
from caravan_bootstrapper.views import Play, RunState
from caravan_shared.contracts.requests import AskRunLog, AskRuns
from caravan_shared.plumbing import requests
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

LOG_CHARS = 262_144


@asynccontextmanager
async def answering(folder: Path, nats_url: str, keys: KeyRing) -> AsyncIterator[Database]:
    """A store whose runs are told of to whoever asks."""
    db = Database(f"sqlite+aiosqlite:///{folder}/bootstrapper.db", Table.metadata, MIGRATIONS)
    await db.start()
    bus, reading = Bus(nats_url, "bootstrapper", 1), Reading(db)
    requests.answer(bus, keys, AskRuns, reading.runs)
    requests.answer(bus, keys, AskRunLog, reading.log)
    await bus.start()
    yield db
    await bus.stop()
    await db.stop()


async def ran(db: Database, cluster_id: str, text: str, *, ended: bool = True, minutes_ago: int = 0) -> UUID:
    """A run of the cluster that printed this."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    run = Run(
        id=uuid4(),
        cluster_id=UUID(cluster_id),
        play=Play.SITE,
        nodes=["a"],
        version="1.34.2",
        generation=1,
        state=RunState.FAILED if ended else RunState.RUNNING,
        owner="test",
        beat_at=at,
        created_at=at,
        started_at=at,
        ended_at=at if ended else None,
        failure="a: the <b>disk</b> is full" if ended else None,
    )
    async with db.transaction() as tx:
        tx.add(run)
        await tx.flush()
        await logs.keep(tx, run.id, 0, text, LOG_CHARS)
    return run.id
