"""The embedded zone: a real server on loopback, its records in a real store."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns.app import MIGRATIONS
from caravan_dns.store import Table, ZoneRecord, ZoneSerial
from caravan_dns.zones.embedded import EmbeddedZone
from caravan_shared.plumbing.database import Database, upsert
from tests.contracts.zone_suite import NAME, OURS, SEVERAL, TTL, Plant, Server, ZoneSuite
from tests.support.eventually import eventually
from tests.support.ports import accepts, free_port
from tests.support.store import migrated


@asynccontextmanager
async def serving(database: Database, port: int) -> AsyncIterator[EmbeddedZone]:
    """An embedded zone at work."""
    zone = EmbeddedZone(database, "caravan.test", "127.0.0.1", port, TTL)
    work = asyncio.create_task(zone.run())
    await eventually(lambda: work.done() or accepts(port))
    yield zone
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The service's store, on SQLite and on PostgreSQL."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as database:
        yield database


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def zone(database: Database, port: int) -> AsyncIterator[EmbeddedZone]:
    async with serving(database, port) as zone:
        yield zone


@pytest.fixture
def server(port: int) -> Server:
    return Server(port)


@pytest.fixture
def plant(database: Database, server: Server) -> Plant:
    async def plant(name: str, address: str) -> None:
        async with database.transaction() as tx:
            tx.add(ZoneRecord(name=name, addresses=[address], ttl=TTL, owner="v=somebody"))
            await upsert(tx, ZoneSerial, [{"origin": "caravan.test", "serial": 1}], key=("origin",), update=("serial",))
        await eventually(lambda: server.texts(name, "A"), within=3)

    return plant


class TestEmbedded(ZoneSuite):
    """The shared suite, on both stores."""


async def test_records_and_serial_survive_a_restart(database: Database, port: int) -> None:
    async with serving(database, port) as zone:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        serial = await Server(port).serial()
    async with serving(database, port) as zone:
        assert await Server(port).texts(NAME, "A") == {"10.0.0.1", "10.0.0.2"}
        assert await Server(port).serial() == serial
        assert not await zone.ensure(NAME, SEVERAL, TTL, OURS)


async def test_change_made_by_one_replica_is_served_by_the_other(database: Database, port: int) -> None:
    other = free_port()
    async with serving(database, port) as zone, serving(database, other):
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        await eventually(lambda: Server(other).texts(NAME, "A"), within=3)


class Hesitant(Database):
    """A store whose next looks take so many seconds longer, each its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url, Table.metadata, MIGRATIONS)
        self.pauses: list[float] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        async with super().reading() as session:
            yield session
            await asyncio.sleep(self.pauses.pop(0) if self.pauses else 0)


@pytest.fixture
async def hesitant(database_url: str) -> AsyncIterator[Hesitant]:
    database = Hesitant(database_url)
    await database.start()
    yield database
    await database.stop()


async def test_look_that_takes_long_never_puts_the_old_over_the_new(hesitant: Hesitant, port: int) -> None:
    async with serving(hesitant, port) as zone:
        hesitant.pauses = [0, 0.3]  # the first name: what is there, what to serve from now on
        slow = asyncio.create_task(zone.ensure(NAME, SEVERAL, TTL, OURS))
        await eventually(lambda: not hesitant.pauses)
        await zone.ensure("other.default.caravan.test", SEVERAL, TTL, OURS)
        await slow
        assert await Server(port).texts("other.default.caravan.test", "AAAA") == {"fd00::1"}


async def test_taken_port_ends_the_service_instead_of_serving_nothing(database: Database, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError):
        await EmbeddedZone(database, "caravan.test", "127.0.0.1", port, TTL).run()


async def test_several_queries_share_one_tcp_connection(zone: EmbeddedZone, server: Server) -> None:
    await zone.ensure(NAME, SEVERAL, TTL, OURS)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(3):
        query = dns.message.make_query(NAME, "A").to_wire()
        writer.write(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        assert dns.message.from_wire(await reader.readexactly(length)).answer
    writer.close()
    await writer.wait_closed()


async def test_tcp_client_that_sends_half_a_query_harms_nobody(zone: EmbeddedZone, server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"\x00\xff\x01")
    writer.close()
    await writer.wait_closed()
    assert await server.serial() == 0
