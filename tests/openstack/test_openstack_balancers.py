"""Load balancers before control planes, made by a real Octavia; its own amphorae may be simulated, as in the lab."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_api import Api
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_shared.contracts.facts import FindingLevel
from caravan_shared.contracts.spec import Role
from tests.contracts.cloud_suite import eventually
from tests.openstack.batches import batch
from tests.openstack.conftest import NO_OCTAVIA, PATIENCE_S, behind, ensure_offered
from tests.support.openstack_proxy import Proxy

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900)]

BALANCERS = r"^POST .*/lbaas/loadbalancers$"
CLUSTER = uuid4()


@pytest.fixture
async def config(openstack_config: OpenStackConfig) -> OpenStackConfig:
    """The cloud under test, with load balancers."""
    await ensure_offered(openstack_config, "load-balancer", NO_OCTAVIA)
    return openstack_config.model_copy(update={"load_balancer": True})


@pytest.fixture
async def cloud(config: OpenStackConfig, proxy: Proxy) -> AsyncIterator[OpenStackCloud]:
    """The adapter, behind the proxy."""
    async with behind(proxy, config) as cloud:
        yield cloud


@pytest.fixture
async def octavia(config: OpenStackConfig) -> AsyncIterator[Api]:
    """The cloud, past the adapter."""
    api = Api("octavia", config)
    yield api
    await api.close()


@pytest.fixture(autouse=True)
async def nothing_left(cloud: OpenStackCloud, proxy: Proxy, octavia: Api, installation: str) -> AsyncIterator[None]:
    """Every test ends without a machine or load balancer of its own."""
    yield
    proxy.faults.clear()
    await cloud.delete([machine.id for machine in await cloud.machines(installation)])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)

    async def left() -> list[dict[str, Any]]:
        await cloud.machines(installation)
        return await _balancers(octavia, installation)

    await eventually(left, lambda balancers: not balancers, PATIENCE_S)


async def test_control_planes_come_behind_a_balancer_that_follows_them(
    cloud: OpenStackCloud, proxy: Proxy, octavia: Api, installation: str
) -> None:
    await cloud.create(batch(installation, 1, 2, 3, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    await cloud.create(batch(installation, 4, cluster=CLUSTER))
    machines = await _behind(cloud, installation, 3)
    assert proxy.count(BALANCERS) == 1
    (balancer,) = await _balancers(octavia, installation)
    leading = [machine for machine in machines if machine.virtual_ip]
    assert {machine.virtual_ip for machine in leading} == {balancer["vip_address"]}
    assert {machine.owner.role for machine in leading if machine.owner} == {Role.CONTROL_PLANE}
    listener = (await octavia.get("load-balancer", f"/lbaas/listeners/{balancer['listeners'][0]['id']}"))["listener"]
    assert (listener["protocol"], listener["protocol_port"]) == ("TCP", 6443)
    assert await _members(cloud, octavia, installation, 3) == {(machine.address, 6443) for machine in leading}

    await cloud.delete([leading[0].id])
    assert await _members(cloud, octavia, installation, 2) == {(machine.address, 6443) for machine in leading[1:]}
    assert proxy.count(BALANCERS) == 1


async def test_balancer_whose_reply_was_lost_is_found_and_used(
    cloud: OpenStackCloud, proxy: Proxy, octavia: Api, installation: str
) -> None:
    proxy.fault(BALANCERS, loses_reply=True)
    await cloud.create(batch(installation, 1, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    (machine,) = await _behind(cloud, installation, 1)
    (balancer,) = await _balancers(octavia, installation)
    assert (machine.virtual_ip, proxy.count(BALANCERS)) == (balancer["vip_address"], 1)


async def test_another_process_takes_the_balancer_over_and_makes_none(
    cloud: OpenStackCloud, config: OpenStackConfig, octavia: Api, installation: str
) -> None:
    await cloud.create(batch(installation, 1, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    (before,) = await _behind(cloud, installation, 1)
    other = OpenStackCloud("other", config)
    (after,) = await _behind(other, installation, 1)
    await other.close()
    assert (after.virtual_ip, len(await _balancers(octavia, installation))) == (before.virtual_ip, 1)


async def test_control_plane_says_that_it_waits_for_its_balancer(
    cloud: OpenStackCloud, proxy: Proxy, installation: str
) -> None:
    proxy.fault(BALANCERS, status=403, times=1000)
    await cloud.create(batch(installation, 1, role=Role.CONTROL_PLANE, cluster=CLUSTER))

    def told(machines: Sequence[Machine]) -> bool:
        return bool(machines[0].fault) and machines[0].state is CloudMachineState.ACTIVE

    (machine,) = await eventually(lambda: cloud.machines(installation), told, PATIENCE_S)
    assert (machine.address, machine.virtual_ip) == (None, None)
    assert machine.fault == "the load balancer before the control planes: cloud 'openstack' refused: 403 arranged"


async def test_octavia_that_is_away_hides_no_machine(
    cloud: OpenStackCloud, config: OpenStackConfig, proxy: Proxy, installation: str
) -> None:
    await cloud.create(batch(installation, 1, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    await _behind(cloud, installation, 1)
    proxy.fault(r"^GET .*/lbaas/loadbalancers$", status=500, times=1000)
    restarted = OpenStackCloud("restarted", config.model_copy(update={"clouds_file": proxy.clouds_file}))
    (machine,) = await restarted.machines(installation)
    await restarted.close()
    assert (machine.state, machine.virtual_ip) == (CloudMachineState.ACTIVE, None)
    assert "500" in str(machine.fault)


async def test_check_tells_of_octavia_and_of_a_provider_that_it_lacks(config: OpenStackConfig) -> None:
    for provider, level in ((None, FindingLevel.OK), ("f5", FindingLevel.FATAL)):
        cloud = OpenStackCloud("checked", config.model_copy(update={"load_balancer_provider": provider}))
        findings = [
            finding for finding in await cloud.check() if "balancer" in finding.says or "Octavia" in finding.says
        ]
        await cloud.close()
        assert [finding.level for finding in findings] == [level], findings


async def _behind(cloud: OpenStackCloud, installation: str, count: int) -> Sequence[Machine]:
    """All machines, once so many of them are behind a balancer and reached at an address."""

    def met(machines: Sequence[Machine]) -> bool:
        return len([each for each in machines if each.virtual_ip and each.address]) == count

    return await eventually(lambda: cloud.machines(installation), met, PATIENCE_S)


async def _balancers(octavia: Api, installation: str) -> list[dict[str, Any]]:
    listed = await octavia.pages("load-balancer", "/lbaas/loadbalancers")
    return [each for each in listed if each["description"] == f"caravan {installation} {CLUSTER}"]


async def _members(cloud: OpenStackCloud, octavia: Api, installation: str, count: int) -> set[tuple[str, int]]:
    """Addresses and ports, once there are so many."""

    async def members() -> set[tuple[str, int]]:
        await cloud.machines(installation)
        (balancer,) = await _balancers(octavia, installation)
        listed = await octavia.pages("load-balancer", f"/lbaas/pools/{balancer['pools'][0]['id']}/members")
        return {(each["address"], each["protocol_port"]) for each in listed}

    return await eventually(members, lambda found: len(found) == count, PATIENCE_S)
