"""Two regions of one entry of clouds.yaml, side by side: each a cloud by itself.

The second region is the test's own: an administrator adds endpoints to the catalogue that lead to the same services,
through a proxy of the test's.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from keystoneauth1.adapter import Adapter
from openstack.config import OpenStackConfig as OpenStackConfigFile

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds import make_clouds
from caravan_provisioner.clouds.base import CloudUnavailable
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_names import UnknownName
from caravan_provisioner.store import Table
from caravan_shared.contracts.facts import FindingLevel
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing
from tests.openstack.conftest import admin_cloud
from tests.support.openstack_proxy import Proxy, proxying

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(300)]

LISTING = r"^GET .*/servers/detail$"


@dataclass
class Region:
    """A region of the test's own and the proxy that all its endpoints lead through."""

    name: str
    proxy: Proxy


@pytest.fixture
async def second(openstack_config: OpenStackConfig, tmp_path: Path) -> AsyncIterator[Region]:
    """The second region; the catalogue is as it was afterwards."""
    identity = _identity()
    assert openstack_config.cloud
    async with proxying(openstack_config.cloud, tmp_path) as proxy:
        region = Region(f"suite-{uuid4().hex[:6]}", proxy)
        try:
            await asyncio.to_thread(_add, identity, region)
            yield region
        finally:
            await asyncio.to_thread(_remove, identity, region)


@pytest.fixture
async def clouds(openstack_config: OpenStackConfig, second: Region) -> AsyncIterator[tuple[OpenStackCloud, ...]]:
    """The adapters of the entry's own region and of the second one."""
    configs = {"first": openstack_config, "second": openstack_config.model_copy(update={"region": second.name})}
    unused = Database("sqlite+aiosqlite://", Table.metadata, MIGRATIONS)
    made = make_clouds(configs, unused, SystemClock(), KeyRing({}, ""))
    both = tuple(cloud for cloud in made.values() if isinstance(cloud, OpenStackCloud))
    yield both
    for cloud in both:
        await cloud.close()


async def test_each_region_is_asked_at_its_own_endpoints_alone(
    clouds: tuple[OpenStackCloud, OpenStackCloud], second: Region, installation: str
) -> None:
    ours, other = clouds
    await ours.offers()
    await ours.machines(installation)
    assert second.proxy.seen == []
    await other.offers()
    await other.machines(installation)
    through = {call: times for call, times in other.calls.items() if "/http" in call}
    assert sum(through.values()) == len(second.proxy.seen)
    assert {call.split("/")[1] for call in other.calls.keys() - through.keys()} <= {"v3", ""}, "none but Keystone"


async def test_region_that_asks_for_peace_leaves_the_others_their_pace(
    clouds: tuple[OpenStackCloud, OpenStackCloud], second: Region, installation: str
) -> None:
    ours, other = clouds
    await asyncio.gather(ours.offers(), other.offers())
    second.proxy.fault(LISTING, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(CloudUnavailable):
        await other.machines(installation)
    held = asyncio.create_task(other.machines(installation))
    assert await ours.machines(installation) == []
    assert (held.done(), second.proxy.count(LISTING)) == (False, 1)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


async def test_region_that_the_catalogue_lacks_is_refused_with_those_it_has(
    openstack_config: OpenStackConfig, second: Region
) -> None:
    wrong = OpenStackCloud("wrong", openstack_config.model_copy(update={"region": f"{second.name}x"}))
    with pytest.raises(UnknownName, match=f"no region '{second.name}x'; there is {second.name}"):
        await wrong.offers()
    (finding,) = await wrong.check()
    await wrong.close()
    assert (finding.level, f"there is {second.name}" in finding.says) == (FindingLevel.FATAL, True)


def _identity() -> Adapter:
    """Keystone, as an administrator."""
    entry = OpenStackConfigFile().get_one(cloud=admin_cloud())
    return Adapter(
        entry.get_session(),
        service_type="identity",
        region_name=entry.region_name,
        min_version="3",
        max_version="3.latest",
    )


def _add(identity: Adapter, region: Region) -> None:
    """The region, with an endpoint for each service that the entry's own region has a public one of."""
    identity.post("/regions", json={"region": {"id": region.name}})
    for known in _endpoints(identity, str(identity.region_name), interface="public"):
        url = region.proxy.leading_to(known["url"])
        endpoint = {"service_id": known["service_id"], "interface": "public", "url": url, "region_id": region.name}
        identity.post("/endpoints", json={"endpoint": endpoint})


def _remove(identity: Adapter, region: Region) -> None:
    for endpoint in _endpoints(identity, region.name):
        identity.delete(f"/endpoints/{endpoint['id']}")
    identity.delete(f"/regions/{region.name}")


def _endpoints(identity: Adapter, region: str, **which: str) -> list[dict[str, Any]]:
    listed = identity.get("/endpoints", params={"region_id": region, **which}).json()["endpoints"]
    return list(listed)
