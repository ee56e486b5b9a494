"""Machines that boot from volumes of a real Cinder; the disks themselves may be simulated, as in the lab."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.base import CloudMachineState, CloudUnavailable
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_api import Api
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_names import UnknownName
from caravan_shared.contracts.facts import FindingLevel
from tests.contracts import cloud_suite
from tests.openstack.batches import all_in, batch
from tests.openstack.conftest import (
    NO_CINDER,
    PATIENCE_S,
    Administrator,
    Project,
    administering,
    behind,
    ensure_offered,
)
from tests.support.eventually import eventually
from tests.support.openstack_proxy import Proxy

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900)]

SERVERS = r"^POST /v2[.\d]*/servers$"
GIB = 2
GRANTED = {"volumes": 10, "gigabytes": 1000}  # Cinder's own default


@pytest.fixture
async def config(openstack_config: OpenStackConfig) -> OpenStackConfig:
    """The cloud under test, with boot volumes."""
    await ensure_offered(openstack_config, "block-storage", NO_CINDER)
    return openstack_config.model_copy(update={"boot_volume_gib": GIB})


@pytest.fixture
async def cloud(config: OpenStackConfig, proxy: Proxy) -> AsyncIterator[OpenStackCloud]:
    """The adapter, behind the proxy."""
    async with behind(proxy, config) as cloud:
        yield cloud


@dataclass
class Volumes:
    """What Cinder has in the project beside the volumes that there were, asked for past the adapter."""

    api: Api
    before: frozenset[str] = frozenset()

    async def new(self) -> dict[str, dict[str, Any]]:
        """Volumes by id."""
        listed = await self.api.pages("block-storage", "/volumes/detail")
        return {each["id"]: each for each in listed if each["id"] not in self.before}

    async def until(self, count: int) -> None:
        """Wait until there are so many."""

        async def is_so() -> bool:
            return len(await self.new()) == count

        await eventually(is_so, within=PATIENCE_S, saying=f"there are {count} volumes")

    async def until_available(self, kind: str, thing: str) -> None:
        """Wait for a `volume` or `snapshot`."""

        async def is_so() -> bool:
            return bool((await self.api.get("block-storage", f"/{kind}s/{thing}"))[kind]["status"] == "available")

        await eventually(is_so, within=PATIENCE_S, saying=f"the {kind} is available")


@pytest.fixture
async def volumes(config: OpenStackConfig) -> AsyncIterator[Volumes]:
    """The test's own volumes."""
    api = Api("cinder", config)
    yield Volumes(api, frozenset(await Volumes(api).new()))
    await api.close()


@pytest.fixture
async def administrator(config: OpenStackConfig) -> AsyncIterator[Administrator]:
    """An administrator; the project is granted what it was afterwards."""
    async with administering(config) as administrator:
        yield administrator
        await administrator.grant("block-storage", **GRANTED)


@pytest.fixture(autouse=True)
async def nothing_left(cloud: OpenStackCloud, proxy: Proxy, volumes: Volumes, installation: str) -> AsyncIterator[None]:
    """Every test ends without a machine or volume of its own."""
    yield
    proxy.faults.clear()
    await cloud.delete([machine.id for machine in await cloud.machines(installation)])
    await cloud_suite.eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await volumes.until(0)


async def test_machines_boot_from_volumes_of_the_size_and_type_asked_for_that_go_with_them(
    cloud: OpenStackCloud, config: OpenStackConfig, volumes: Volumes, administrator: Administrator, installation: str
) -> None:
    kind = await _volume_type(administrator)
    typed = OpenStackCloud("typed", config.model_copy(update={"boot_volume_type": kind["name"]}))
    await typed.create(batch(installation, 1, 2))
    machines = await all_in(cloud, installation, CloudMachineState.ACTIVE, 2)
    made = (await volumes.new()).values()
    assert {each["attachments"][0]["server_id"] for each in made} == {machine.id for machine in machines}
    assert {(each["size"], each["volume_type"], each["bootable"]) for each in made} == {(GIB, kind["name"], "true")}
    assert {each["volume_image_metadata"]["image_name"] for each in made} == {config.image}

    await typed.delete([machines[0].id])
    await volumes.until(1)
    await typed.delete([machines[1].id])
    await volumes.until(0)
    await typed.close()
    await administrator.api.delete("block-storage", f"/types/{kind['id']}")


async def test_lost_reply_makes_one_machine_with_one_volume(
    cloud: OpenStackCloud, proxy: Proxy, volumes: Volumes, installation: str
) -> None:
    proxy.fault(SERVERS, loses_reply=True)
    with pytest.raises(CloudUnavailable):
        await cloud.create(batch(installation, 1))
    await all_in(cloud, installation, CloudMachineState.ACTIVE, 1)
    assert (proxy.count(SERVERS), len(await volumes.new())) == (1, 1)


async def test_machine_whose_volume_could_not_be_made_is_in_error_and_leaves_nothing(
    cloud: OpenStackCloud, config: OpenStackConfig, volumes: Volumes, administrator: Administrator, installation: str
) -> None:
    kind = await _volume_type(administrator, volume_backend_name="none has this name")
    hopeless = OpenStackCloud("hopeless", config.model_copy(update={"boot_volume_type": kind["name"]}))
    await hopeless.create(batch(installation, 1))
    (machine,) = await all_in(cloud, installation, CloudMachineState.ERROR, 1)
    assert "olume" in str(machine.fault)
    await hopeless.delete([machine.id])
    await volumes.until(0)
    await hopeless.close()
    await administrator.api.delete("block-storage", f"/types/{kind['id']}")


async def test_quota_of_volumes_bounds_the_machines_and_is_told_beforehand_and_on_the_way(
    cloud: OpenStackCloud, volumes: Volumes, administrator: Administrator, installation: str
) -> None:
    limits = (await volumes.api.get("block-storage", "/limits"))["limits"]["absolute"]
    count, gib = limits["totalVolumesUsed"], limits["totalGigabytesUsed"]
    await administrator.grant("block-storage", volumes=count + 10, gigabytes=gib + GIB * 2 + 1)
    quota = (await cloud.offers()).quota
    assert quota.machines_limit == quota.machines_used + 2
    await administrator.grant("block-storage", volumes=count)
    quota = (await cloud.offers()).quota
    assert quota.machines_limit == quota.machines_used
    told = {finding.says: finding.level for finding in await cloud.check() if "olumes" in finding.says}
    assert told[f"{count} of {count} volumes in use, 0 free"] is FindingLevel.FATAL
    assert told[f"{gib} of {gib + GIB * 2 + 1} GiB of volumes in use, {GIB * 2 + 1} free"] is FindingLevel.WARNING

    await cloud.create(batch(installation, 1))
    (machine,) = await all_in(cloud, installation, CloudMachineState.ERROR, 1)
    assert "olume" in str(machine.fault)
    assert await volumes.new() == {}


async def test_volume_type_that_the_cloud_lacks_is_refused_with_those_that_are_near(
    config: OpenStackConfig, administrator: Administrator
) -> None:
    kind = await _volume_type(administrator)
    wrong = OpenStackCloud("wrong", config.model_copy(update={"boot_volume_type": f"{kind['name']}x"}))
    with pytest.raises(UnknownName, match=f"no volume type '{kind['name']}x'; there is {kind['name']}"):
        await wrong.offers()
    (finding,) = [finding for finding in await wrong.check() if finding.about == "boot volumes"]
    assert (finding.level, f"there is {kind['name']}" in finding.says) == (FindingLevel.FATAL, True)
    await wrong.close()
    await administrator.api.delete("block-storage", f"/types/{kind['id']}")


async def test_volume_that_outlived_its_machine_goes_and_another_stays(
    cloud: OpenStackCloud, volumes: Volumes, project: Project, installation: str
) -> None:
    (made,) = await cloud.create(batch(installation, 1))
    await all_in(cloud, installation, CloudMachineState.ACTIVE, 1)
    ((volume, _),) = (await volumes.new()).items()
    other = (await volumes.api.post("block-storage", "/volumes", {"volume": {"size": 1}}))["volume"]["id"]
    hold = {"snapshot": {"volume_id": volume, "force": True}}  # with it, Cinder refuses to delete the volume
    snapshot = (await volumes.api.post("block-storage", "/snapshots", hold))["snapshot"]["id"]
    await volumes.until_available("snapshot", snapshot)
    await project.api.delete("compute", f"/servers/{made.id}")
    await project.until_gone(made.id)
    await volumes.api.delete("block-storage", f"/snapshots/{snapshot}")

    async def is_let_go() -> bool:
        return not await volumes.api.pages("block-storage", "/snapshots")

    await eventually(is_let_go, within=PATIENCE_S, saying="the snapshot is gone")
    assert (await volumes.new())[volume]["status"] == "available", "Nova left it"
    assert await cloud.machines(installation) == []
    await volumes.until(1)
    assert (await volumes.new()).keys() == {other}
    await volumes.until_available("volume", other)
    await volumes.api.delete("block-storage", f"/volumes/{other}")


async def _volume_type(administrator: Administrator, **specs: str) -> dict[str, Any]:
    """A volume type of the test's own."""
    wanted = {"name": f"suite-{uuid4().hex[:6]}", "extra_specs": specs}
    made: dict[str, Any] = (await administrator.api.post("block-storage", "/types", {"volume_type": wanted}))[
        "volume_type"
    ]
    return made
