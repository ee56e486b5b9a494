"""The RFC 2136 zone against a real bind9."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dns.asyncquery
import dns.rcode
import dns.tsig
import dns.update
import pytest

from caravan_dns.errors import NameTaken, ZoneRefused, ZoneUnreachable
from caravan_dns.zones.rfc2136 import Rfc2136Zone
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import Retry
from tests.contracts.zone_suite import NAME, OTHER_CLUSTER, OURS, TTL, Plant, Server, ZoneSuite
from tests.support.bind9 import KEY_NAME, SECRET, Bind9, named
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(
    named() is None, reason="bind9's `named` is not installed: get it with `apt-get install bind9` to prove RFC 2136"
)

KEY = dns.tsig.Key(KEY_NAME, SECRET, "hmac-sha256")


@pytest.fixture
def bind9(tmp_path: Path) -> Iterator[Bind9]:
    bind9 = Bind9(tmp_path)
    bind9.start()
    yield bind9
    bind9.stop()


@pytest.fixture
def server(bind9: Bind9) -> Server:
    return Server(bind9.port)


@pytest.fixture
def zone(bind9: Bind9) -> Rfc2136Zone:
    return Rfc2136Zone("caravan.test", "127.0.0.1", bind9.port, KEY)


@pytest.fixture
def plant(bind9: Bind9) -> Plant:
    async def plant(name: str, address: str) -> None:
        update = dns.update.UpdateMessage("caravan.test", keyring=KEY)
        update.add(f"{name}.", TTL, "A", address)
        assert (await dns.asyncquery.tcp(update, "127.0.0.1", port=bind9.port, timeout=5)).rcode() == dns.rcode.NOERROR

    return plant


class TestRfc2136(ZoneSuite):
    """The shared suite."""


async def test_record_that_appears_between_reading_and_writing_is_not_overwritten(
    bind9: Bind9, server: Server, plant: Plant
) -> None:
    class Overtaken(Rfc2136Zone):
        """Somebody is faster, just after we looked."""

        async def read(self, name: str) -> None:
            await plant(name, "10.0.0.9")

    with pytest.raises(Retry, match="YXDOMAIN"):
        await Overtaken("caravan.test", "127.0.0.1", bind9.port, KEY).ensure(NAME, ("10.0.0.1",), TTL, OURS)
    assert await server.texts(NAME, "A") == {"10.0.0.9"}


async def test_two_writers_of_one_name_end_with_one_owner(zone: Rfc2136Zone, server: Server) -> None:
    outcomes = await asyncio.gather(
        zone.ensure(NAME, ("10.0.0.1",), TTL, OURS),
        zone.ensure(NAME, ("10.0.0.2",), TTL, OTHER_CLUSTER),
        return_exceptions=True,
    )
    assert sum(outcome is True for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NameTaken | Retry) for outcome in outcomes) == 1
    assert len(await server.texts(NAME, "TXT")) == 1


async def test_text_added_beside_our_marker_makes_the_name_not_ours(zone: Rfc2136Zone, bind9: Bind9) -> None:
    await zone.ensure(NAME, ("10.0.0.1",), TTL, OURS)
    update = dns.update.UpdateMessage("caravan.test", keyring=KEY)
    update.add(f"{NAME}.", TTL, "TXT", '"v=spf1 -all"')
    await dns.asyncquery.tcp(update, "127.0.0.1", port=bind9.port, timeout=5)
    with pytest.raises(NameTaken):
        await zone.ensure(NAME, ("10.0.0.2",), TTL, OURS)


async def test_alias_in_the_way_is_not_overwritten(zone: Rfc2136Zone, bind9: Bind9) -> None:
    update = dns.update.UpdateMessage("caravan.test", keyring=KEY)
    update.add(f"{NAME}.", TTL, "CNAME", "ns.caravan.test.")
    await dns.asyncquery.tcp(update, "127.0.0.1", port=bind9.port, timeout=5)
    with pytest.raises(NameTaken):
        await zone.ensure(NAME, ("10.0.0.1",), TTL, OURS)


@pytest.mark.parametrize(
    "key", [dns.tsig.Key(KEY_NAME, "d3Jvbmc=", "hmac-sha256"), dns.tsig.Key("unknown", SECRET, "hmac-sha256")]
)
async def test_wrong_key_is_the_operators_to_mend(bind9: Bind9, key: dns.tsig.Key) -> None:
    with pytest.raises(ZoneRefused, match="TSIG") as refused:
        await Rfc2136Zone("caravan.test", "127.0.0.1", bind9.port, key).ensure(NAME, ("10.0.0.1",), TTL, OURS)
    assert refused.value.who_can_fix is WhoCanFix.OPERATOR


async def test_zone_that_takes_no_updates_is_the_operators_to_mend(bind9: Bind9) -> None:
    with pytest.raises(ZoneRefused, match="REFUSED"):
        await Rfc2136Zone("fixed.test", "127.0.0.1", bind9.port, KEY).ensure(
            "demo.fixed.test", ("10.0.0.1",), TTL, OURS
        )


async def test_dead_server_is_tried_again() -> None:
    with pytest.raises(ZoneUnreachable):
        await Rfc2136Zone("caravan.test", "127.0.0.1", free_port(), KEY).ensure(NAME, ("10.0.0.1",), TTL, OURS)
