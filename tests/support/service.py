"""A small service with one table, wired like the real ones, for tests of what every service gets from the plumbing."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, UtcDateTime, service_metadata
from caravan_shared.plumbing.delivery import Patience
from caravan_shared.plumbing.envelope import Heard
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.service import Service, run
from caravan_shared.plumbing.settings import ServiceSettings, settings_config
from tests.support.ports import free_port
from tests.support.publishing import publish
from tests.support.store import create_tables, opened


class Settings(ServiceSettings):
    """The example service's settings: those of every service."""

    model_config = settings_config("example")


class Table(SQLModel):
    """Base of the example service's tables."""

    metadata = service_metadata()


class Noted(Table, table=True):
    """One row for each time that an event took effect, so that a double shows."""

    id: int | None = Field(default=None, primary_key=True)
    event_id: str
    cluster_id: str
    number: int
    at: datetime = Field(sa_type=UtcDateTime)


class Item(Table, table=True):
    """Something with a key, a value and a time."""

    name: str = Field(primary_key=True)
    value: int = 0
    at: datetime | None = Field(default=None, sa_type=UtcDateTime)


@asynccontextmanager
async def open_store(url: str, metadata: MetaData = Table.metadata) -> AsyncIterator[Database]:
    """The example service's store, without the service."""
    await create_tables(url, metadata)
    async with opened(Database(url, metadata, _no_migrations())) as db:
        yield db


class Example:
    """The service: notes every `bootstrap.done` it hears. Wire more into `service` before `running()`."""

    def __init__(
        self,
        folder: Path,
        nats_url: str,
        *,
        name: str = "example",
        clock: Clock | None = None,
        patience: Patience | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(
            **{"state_dir": folder, "nats_url": nats_url, "http_port": free_port(), "log_level": "ERROR", **settings}
        )
        self.service = Service(
            name,
            self.settings,
            metadata=Table.metadata,
            migrations=_no_migrations(),
            clock=clock,
            patience=patience or Patience(),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Example"]:
        """Start it on a store with its tables; stop it at the end."""
        await create_tables(self.settings.database_url, Table.metadata)
        async with self.service.running():
            yield self

    @property
    def url(self) -> str:
        """Where its HTTP routes are."""
        return f"http://127.0.0.1:{self.service.http_port}"

    async def noted(self) -> list[Noted]:
        """What took effect so far, in that order."""
        async with self.service.db.reading() as session:
            return list(await session.exec(select(Noted).order_by(col(Noted.id))))

    async def numbers(self) -> list[int]:
        """The numbers of the events that took effect so far."""
        return [row.number for row in await self.noted()]

    async def has_heard(self, count: int) -> bool:
        """Whether so many events took effect so far."""
        return len(await self.numbers()) >= count


async def add(db: Database, name: str) -> None:
    """Store an item, in a transaction of its own."""
    async with db.transaction() as tx:
        tx.add(Item(name=name))


async def names(db: Database) -> list[str]:
    """The names of all items, sorted."""
    async with db.reading() as session:
        return sorted(await session.exec(select(Item.name)))


async def note(heard: Heard[BootstrapDone], tx: AsyncSession) -> None:
    """Handle `bootstrap.done` by a row; `nodes` of the event serves as its number."""
    tx.add(
        Noted(event_id=heard.id, cluster_id=str(heard.event.cluster_id), number=heard.event.nodes, at=datetime.now(UTC))
    )


def done(number: int = 0, cluster_id: UUID | None = None) -> BootstrapDone:
    """A `bootstrap.done` that can be told from others by its number."""
    return BootstrapDone(cluster_id=cluster_id or uuid4(), generation=1, version="1.34.2", nodes=number)


async def tell(bus: Bus, *events: Event, event_id: str | None = None, message_id: str | None = None) -> None:
    """Publish events as another service would; `message_id` other than the event's id gets a double past JetStream."""
    for event in events:
        await publish(bus, event, event_id=event_id, message_id=message_id)


async def is_told(bus: Bus, event: Event, event_id: str) -> bool:
    """Whether the broker took it: it may be away just now."""
    try:
        await tell(bus, event, event_id=event_id)
    except Retry:
        return False
    return True


def _no_migrations() -> Path:
    return Path(__file__).with_name("no_migrations")


async def _fail() -> None:
    raise RuntimeError("told to fail")


async def _say_and_die(example: Example) -> None:
    async with example.service.db.transaction() as tx:
        await say(tx, *(done(number) for number in range(50)))
    os.kill(os.getpid(), signal.SIGKILL)


async def _hear_of_the_end_and_go_on() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


def main(how: str) -> None:
    """Run the service as a process of its own, configured by the environment; `how`: as it is, or how it ends."""
    environment = Settings()
    example = Example(environment.state_dir, environment.nats_url, http_port=environment.http_port, log_level="INFO")
    example.service.hears(BootstrapDone, note)
    if how == "fail":
        example.service.alongside("failing", _fail)
    if how == "say-and-die":
        example.service.alongside("dying", lambda: _say_and_die(example))
    if how == "swallow-the-end":
        example.service.before_hearing(_hear_of_the_end_and_go_on)
    asyncio.run(create_tables(example.settings.database_url, Table.metadata))
    run(example.service)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
