"""The Designate zone against a real Designate; a real bind9 answers, a secondary as in any of its pools."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import pytest

from caravan_dns.errors import ZoneRefused, ZoneUnreachable
from caravan_dns.zones.designate import DesignateZone
from caravan_dns.zones.openstack_login import service
from caravan_shared.contracts.facts import WhoCanFix
from tests.contracts.zone_suite import NAME, OURS, TTL, Plant, Server, ZoneSuite
from tests.support.bind9 import named, secondary
from tests.support.eventually import eventually

ORIGIN = "caravan.test"
MDNS = int(os.environ.get("CARAVAN_TEST_DESIGNATE_MDNS", "15354"))  # the lab's; it is what a pool's name servers copy

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get("OS_CLOUD"),
        reason="DESIGNATE IS NOT TESTED HERE: set OS_CLOUD (and OS_CLIENT_CONFIG_FILE) to a cloud of clouds.yaml",
    ),
    pytest.mark.skipif(named() is None, reason="bind9's `named` is not installed: get it with `apt-get install bind9`"),
]


@dataclass(frozen=True)
class Secondary(Server):
    """A name server that copies the zone; the test notifies it, as Designate notifies those of its pools."""

    async def ask(self, name: str, rdtype: str, *, tcp: bool = False) -> dns.message.Message:
        """One query, once the copy is as new as Designate's own."""
        newest = await self._serial_at(MDNS)
        await self._notify()

        async def is_copied() -> bool:
            return await self._serial_at(self.port) == newest

        await eventually(is_copied, within=30, saying=f"bind9 has serial {newest}")
        return await super().ask(name, rdtype, tcp=tcp)

    async def _notify(self) -> None:
        notify = dns.message.make_query(ORIGIN, "SOA", flags=dns.flags.AA)
        notify.set_opcode(dns.opcode.NOTIFY)
        await dns.asyncquery.udp(notify, "127.0.0.1", port=self.port, timeout=5)

    async def _serial_at(self, port: int) -> int:
        answer = await dns.asyncquery.udp(dns.message.make_query(ORIGIN, "SOA"), "127.0.0.1", port=port, timeout=10)
        return max((int(rdata.serial) for rrset in answer.answer for rdata in rrset), default=0)


@pytest.fixture(scope="session")
async def zone_id() -> AsyncIterator[str]:
    """caravan.test in the project, made for these tests."""
    api = service(None, None, "dns")
    made = await asyncio.to_thread(api.post, "/zones", json={"name": f"{ORIGIN}.", "email": f"hostmaster@{ORIGIN}"})
    assert made.status_code == 202, made.text
    zone = made.json()["id"]

    async def is_active() -> bool:
        return bool((await asyncio.to_thread(api.get, f"/zones/{zone}")).json()["status"] == "ACTIVE")

    await eventually(is_active, within=60, every=0.5, saying="the zone is active")
    yield zone
    await asyncio.to_thread(api.delete, f"/zones/{zone}")


@pytest.fixture(scope="session")
def server(zone_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secondary]:
    """bind9 as the zone's secondary."""
    with secondary(tmp_path_factory.mktemp("bind9"), ORIGIN, MDNS) as port:
        yield Secondary(port)


@pytest.fixture
async def zone(zone_id: str) -> AsyncIterator[DesignateZone]:
    """The zone under test; emptied afterwards."""
    yield DesignateZone(ORIGIN, None, None)
    api = service(None, None, "dns")
    for left in (await asyncio.to_thread(api.get, f"/zones/{zone_id}/recordsets?limit=1000")).json()["recordsets"]:
        if left["type"] not in ("SOA", "NS"):
            await asyncio.to_thread(api.delete, f"/zones/{zone_id}/recordsets/{left['id']}")

    async def is_empty() -> bool:
        listed = (await asyncio.to_thread(api.get, f"/zones/{zone_id}/recordsets")).json()["recordsets"]
        return {each["type"] for each in listed} <= {"SOA", "NS"}

    await eventually(is_empty, within=60, every=0.5, saying="the zone is empty")


@pytest.fixture
def plant(zone_id: str) -> Plant:
    async def plant(name: str, address: str) -> None:
        record = {"name": f"{name}.", "type": "A", "ttl": TTL, "records": [address]}
        api = service(None, None, "dns")
        made = await asyncio.to_thread(api.post, f"/zones/{zone_id}/recordsets", json=record)
        assert made.status_code == 202, made.text

        async def is_active() -> bool:
            path = f"/zones/{zone_id}/recordsets/{made.json()['id']}"
            return bool((await asyncio.to_thread(api.get, path)).json()["status"] == "ACTIVE")

        await eventually(is_active, within=60, every=0.5, saying="the record is active")

    return plant


class TestDesignate(ZoneSuite):
    """The shared suite."""


async def test_zone_that_the_project_lacks_is_the_operators_to_mend() -> None:
    with pytest.raises(ZoneRefused, match=r"no zone elsewhere\.test\.") as refused:
        await DesignateZone("elsewhere.test", None, None).ensure("a.elsewhere.test", ("10.0.0.1",), TTL, OURS)
    assert refused.value.who_can_fix is WhoCanFix.OPERATOR


async def test_nobody_there_is_tried_again(tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    auth = "{auth_url: 'http://127.0.0.1:9/v3', username: u, password: p, project_name: p, user_domain_name: Default}"
    clouds.write_text(f"clouds: {{gone: {{auth: {auth}}}}}")
    with pytest.raises(ZoneUnreachable):
        await DesignateZone(ORIGIN, "gone", clouds).ensure(NAME, ("10.0.0.1",), TTL, OURS)


async def test_cloud_that_the_file_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {here: {}}")
    with pytest.raises(ZoneRefused, match="no cloud 'there'; it has: here"):
        await DesignateZone(ORIGIN, "there", clouds).ensure(NAME, ("10.0.0.1",), TTL, OURS)
