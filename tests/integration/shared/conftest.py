"""The example service on a nats-server of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.database import Database
from tests.support.nats import NatsServer
from tests.support.service import Example, note, open_store


@pytest.fixture
def example(tmp_path: Path, nats_server: NatsServer) -> Example:
    """Not running yet; it notes what it hears."""
    example = Example(tmp_path, nats_server.url)
    example.service.hears(BootstrapDone, note)
    return example


@pytest.fixture
async def outsider(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A bus that publishes and hears nothing."""
    bus = Bus(nats_server.url, "outsider", 1)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The example service's store alone, on each database in turn."""
    async with open_store(database_url) as store:
        yield store
