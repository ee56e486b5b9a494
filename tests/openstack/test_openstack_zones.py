"""Availability zones of a real OpenStack, made for the test by an administrator: who is put where."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.base import CloudMachineState
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_shared.contracts.spec import Role
from tests.contracts.cloud_suite import eventually
from tests.openstack.batches import all_in, batch
from tests.openstack.conftest import PATIENCE_S, Administrator, Project, administering

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900)]


@pytest.fixture
async def zones(openstack_config: OpenStackConfig) -> AsyncIterator[tuple[str, ...]]:
    """Two zones of an idle host each."""
    async with administering(openstack_config) as administrator, AsyncExitStack() as stack:
        listed = await administrator.api.pages("compute", "/servers/detail", {"all_tenants": "1"})
        busy = {server["OS-EXT-SRV-ATTR:host"] for server in listed}
        services = (await administrator.api.get("compute", "/os-services", {"binary": "nova-compute"}))["services"]
        idle = sorted({each["host"] for each in services if each["state"] == "up"} - busy)
        if len(idle) < 2:
            pytest.skip("ZONES ARE NOT TESTED HERE: the cloud has no two hosts without machines")
        yield tuple([await stack.enter_async_context(_zone(administrator, host)) for host in idle[:2]])


@asynccontextmanager
async def _zone(administrator: Administrator, host: str) -> AsyncIterator[str]:
    name = f"suite-{uuid4()}"
    wish = {"aggregate": {"name": name, "availability_zone": name}}
    made = (await administrator.api.post("compute", "/os-aggregates", wish))["aggregate"]
    action = f"/os-aggregates/{made['id']}/action"
    await administrator.api.post("compute", action, {"add_host": {"host": host}})
    yield name
    await administrator.api.post("compute", action, {"remove_host": {"host": host}})
    await administrator.api.delete("compute", f"/os-aggregates/{made['id']}")


async def test_control_planes_are_spread_over_the_zones_and_batches_of_workers_too(
    openstack_config: OpenStackConfig, project: Project, installation: str, zones: tuple[str, ...]
) -> None:
    cloud = OpenStackCloud("zoned", openstack_config.model_copy(update={"availability_zones": zones}))
    await cloud.create(batch(installation, 1, 2, 3, role=Role.CONTROL_PLANE))
    workers = batch(installation, 1, 2)
    await cloud.create(workers)
    await cloud.create(replace(workers, prefix="suite-more"))
    machines = await all_in(cloud, installation, CloudMachineState.ACTIVE, 7)
    placed: dict[Role, Counter[str]] = {Role.CONTROL_PLANE: Counter(), Role.WORKER: Counter()}
    for machine in machines:
        assert machine.owner
        server = (await project.api.get("compute", f"/servers/{machine.id}"))["server"]
        placed[machine.owner.role][server["OS-EXT-AZ:availability_zone"]] += 1
    await cloud.delete([machine.id for machine in machines])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await cloud.close()
    assert placed[Role.CONTROL_PLANE].keys() == set(zones)
    assert sorted(placed[Role.CONTROL_PLANE].values()) == [1, 2]
    assert placed[Role.WORKER] == dict.fromkeys(zones, 2)
