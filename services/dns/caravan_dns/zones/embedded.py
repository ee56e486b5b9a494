"""The embedded zone: an authoritative name server of our own, its records in the service's store.

For installations without a name server that takes updates. Loopback by default; for real use, listen on an address of
the host and have the parent zone delegate to it. Several replicas may serve the same store.
"""

import asyncio

import dns.name
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns.errors import NameTaken
from caravan_dns.store import ZoneRecord, ZoneSerial
from caravan_dns.zones.answering import ZoneContents, respond
from caravan_dns.zones.base import Owner, Record
from caravan_dns.zones.server import serving
from caravan_shared.plumbing.database import Database, upsert

RELOAD_S = 1.0
"""How long another replica's change may go unseen; well below the shortest sensible TTL."""


class EmbeddedZone:
    """Serves what the store holds."""

    kind = "embedded"

    def __init__(self, database: Database, origin: str, host: str, port: int, ttl: int) -> None:
        self._database, self._host, self._port = database, host, port
        self._origin_text = origin
        self._contents = ZoneContents(dns.name.from_text(origin), 0, ttl, host, {})
        self._reloading = asyncio.Lock()

    async def run(self) -> None:
        """Answer queries until cancelled. Raises OSError if the port is taken."""
        await self._reload()
        async with serving(self._answer, self._host, self._port):
            while True:
                await asyncio.sleep(RELOAD_S)
                await self._reload()

    async def ensure(self, name: str, addresses: tuple[str, ...], ttl: int, owner: Owner) -> bool:
        """Make the name have exactly these addresses; True if anything had to change. Raises NameTaken."""
        wanted = Record(addresses, ttl, owner)
        if wanted.same_as(await self.read(name)):
            return False
        async with self._database.transaction() as tx:
            await self._count_up(tx)
            found = await _record(tx, name)
            if found and found.owner != owner:
                raise NameTaken(name, str(found.owner or "someone else"))
            row = ZoneRecord(name=name, addresses=list(addresses), ttl=ttl, owner=owner.marker).model_dump()
            await upsert(tx, ZoneRecord, [row], key=("name",), update=("addresses", "ttl"))
        await self._reload()
        return True

    async def remove(self, name: str, owner: Owner) -> bool:
        """Take the name away if it is this owner's, else leave it alone; True if anything had to change."""
        async with self._database.reading() as session:
            found = await session.get(ZoneRecord, name)
        if found is None or found.owner != owner.marker:
            return False
        async with self._database.transaction() as tx:
            await self._count_up(tx)
            await tx.delete(found)
        await self._reload()
        return True

    async def read(self, name: str) -> Record | None:
        """What the store holds under the name; None if it has no such name."""
        async with self._database.reading() as session:
            return await _record(session, name)

    def _answer(self, query: bytes, datagram: bool) -> bytes | None:
        return respond(query, self._contents, datagram=datagram)

    async def _reload(self) -> None:
        async with self._reloading:  # one look at a time: a slow one must not put the old over the new
            self._contents = await self._stored() or self._contents

    async def _stored(self) -> ZoneContents | None:
        """What the store holds; None where that is served already."""
        seen = self._contents
        async with self._database.reading() as session:
            serial = await session.get(ZoneSerial, self._origin_text)
            if serial is None or serial.serial == seen.serial:
                return None
            rows = (await session.exec(select(ZoneRecord))).all()
        records = {dns.name.from_text(row.name): _as_record(row) for row in rows}
        return ZoneContents(seen.origin, serial.serial, seen.ttl, seen.server_address, records)

    async def _count_up(self, tx: AsyncSession) -> None:
        """Raise the serial. First in each transaction: its row is the lock under which the records change."""
        await upsert(tx, ZoneSerial, [{"origin": self._origin_text, "serial": 0}], key=("origin",), update=())
        row = await tx.get_one(ZoneSerial, self._origin_text, with_for_update=True)
        row.serial += 1


async def _record(session: AsyncSession, name: str) -> Record | None:
    row = await session.get(ZoneRecord, name)
    return _as_record(row) if row else None


def _as_record(row: ZoneRecord) -> Record:
    return Record(tuple(row.addresses), row.ttl, Owner.of_marker(row.owner))
