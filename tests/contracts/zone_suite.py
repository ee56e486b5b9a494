"""What every zone backend must do: inherit `ZoneSuite`, provide the fixtures `zone`, `server` and `plant`.

The zone is caravan.test, and empty for each test; `plant` has somebody else make a record there, without an owner.
Answers are checked where users see them: by real DNS queries to the server that serves the zone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from caravan_dns.errors import NameTaken
from caravan_dns.zones.base import Owner, Record, Zone

TTL = 5
OURS = Owner("here", "0190f6f0-5b7c-7000-8000-000000000001")
OTHER_CLUSTER = Owner("here", "0190f6f0-5b7c-7000-8000-000000000002")
OTHER_INSTALLATION = Owner("elsewhere", OURS.cluster)
NAME = "demo.default.caravan.test"
SEVERAL = ("10.0.0.1", "10.0.0.2", "fd00::1")


@dataclass(frozen=True)
class Server:
    """Where the zone is served, on loopback."""

    port: int

    async def ask(self, name: str, rdtype: str, *, tcp: bool = False) -> dns.message.Message:
        """One query, as a resolver would send it."""
        exchange = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await exchange(dns.message.make_query(name, rdtype), "127.0.0.1", port=self.port, timeout=5)

    async def texts(self, name: str, rdtype: str) -> set[str]:
        """The answer's data, as text."""
        return {rdata.to_text() for rrset in (await self.ask(name, rdtype)).answer for rdata in rrset}

    async def serial(self) -> int:
        """The zone's SOA serial."""
        (soa,) = (await self.ask("caravan.test", "SOA")).answer[0]
        return int(soa.serial)


Plant = Callable[[str, str], Awaitable[None]]
"""(name, address) → the record is there, and nobody's."""


class ZoneSuite:
    """The behaviour that the dns service relies on."""

    async def test_new_name_is_served_with_its_owner(self, zone: Zone, server: Server) -> None:
        assert await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert await server.texts(NAME, "A") == {"10.0.0.1", "10.0.0.2"}
        assert await server.texts(NAME, "AAAA") == {"fd00::1"}
        assert await server.texts(NAME, "TXT") == {f'"{OURS.marker}"'}
        assert (await server.ask(NAME, "A")).answer[0].ttl == TTL

    async def test_what_was_written_is_read_back(self, zone: Zone, server: Server) -> None:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert Record(SEVERAL, TTL, OURS).same_as(await zone.read(NAME))

    async def test_unknown_name_is_not_there(self, zone: Zone, server: Server) -> None:
        assert await zone.read(NAME) is None
        assert (await server.ask(NAME, "A")).rcode() == dns.rcode.NXDOMAIN

    async def test_name_is_claimed_before_it_has_an_address(self, zone: Zone, server: Server) -> None:
        assert await zone.ensure(NAME, (), TTL, OURS)
        answer = await server.ask(NAME, "A")
        assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
        with pytest.raises(NameTaken):
            await zone.ensure(NAME, ("10.0.0.9",), TTL, OTHER_CLUSTER)

    async def test_same_addresses_again_change_nothing(self, zone: Zone, server: Server) -> None:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        serial = await server.serial()
        assert not await zone.ensure(NAME, tuple(reversed(SEVERAL)), TTL, OURS)
        assert await server.serial() == serial

    async def test_changed_addresses_replace_the_old_ones(self, zone: Zone, server: Server) -> None:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert await zone.ensure(NAME, ("10.0.0.2", "10.0.0.3"), TTL, OURS)
        assert await server.texts(NAME, "A") == {"10.0.0.2", "10.0.0.3"}
        assert await server.texts(NAME, "AAAA") == set()

    async def test_changed_ttl_is_served(self, zone: Zone, server: Server) -> None:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert await zone.ensure(NAME, SEVERAL, TTL * 2, OURS)
        assert (await server.ask(NAME, "A")).answer[0].ttl == TTL * 2

    async def test_every_change_raises_the_serial(self, zone: Zone, server: Server) -> None:
        serials = []
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
            await zone.ensure(NAME, (address,), TTL, OURS)
            serials.append(await server.serial())
        assert serials == sorted(set(serials))

    async def test_removed_name_is_gone_and_removing_again_is_fine(self, zone: Zone, server: Server) -> None:
        await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert await zone.remove(NAME, OURS)
        assert (await server.ask(NAME, "A")).rcode() == dns.rcode.NXDOMAIN
        assert not await zone.remove(NAME, OURS)

    @pytest.mark.parametrize("owner", [OTHER_CLUSTER, OTHER_INSTALLATION])
    async def test_name_of_another_owner_is_neither_overwritten_nor_removed(
        self, zone: Zone, server: Server, owner: Owner
    ) -> None:
        await zone.ensure(NAME, ("10.0.0.9",), TTL, owner)
        with pytest.raises(NameTaken, match=owner.cluster):
            await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert not await zone.remove(NAME, OURS)
        assert await server.texts(NAME, "A") == {"10.0.0.9"}

    async def test_record_without_an_owner_is_neither_overwritten_nor_removed(
        self, zone: Zone, server: Server, plant: Plant
    ) -> None:
        await plant(NAME, "10.0.0.9")
        with pytest.raises(NameTaken, match="someone else"):
            await zone.ensure(NAME, SEVERAL, TTL, OURS)
        assert not await zone.remove(NAME, OURS)
        assert await server.texts(NAME, "A") == {"10.0.0.9"}

    async def test_many_names_side_by_side(self, zone: Zone, server: Server) -> None:
        names = [f"c{number}.default.caravan.test" for number in range(20)]
        await asyncio.gather(*(zone.ensure(name, (f"10.0.1.{at}",), TTL, OURS) for at, name in enumerate(names)))
        for at, name in enumerate(names):
            assert await server.texts(name, "A") == {f"10.0.1.{at}"}

    async def test_long_answer_is_whole_over_tcp(self, zone: Zone, server: Server) -> None:
        addresses = tuple(f"10.2.0.{number}" for number in range(1, 100))
        await zone.ensure(NAME, addresses, TTL, OURS)
        answer = await server.ask(NAME, "A", tcp=True)
        assert {rdata.to_text() for rrset in answer.answer for rdata in rrset} == set(addresses)
