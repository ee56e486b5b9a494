"""Where a real OpenStack says no: quota before and on the way, and machines that it cannot place."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.base import CloudMachineState, QuotaExceeded
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_shared.contracts.facts import FindingLevel
from tests.contracts.cloud_suite import eventually
from tests.openstack.batches import batch
from tests.openstack.conftest import PATIENCE_S, Administrator, administering

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(600)]

UNLIMITED = -1


@pytest.fixture
async def administrator(openstack_config: OpenStackConfig) -> AsyncIterator[Administrator]:
    """An administrator; the project is without limits afterwards."""
    async with administering(openstack_config) as administrator:
        yield administrator
        await administrator.grant(instances=UNLIMITED, cores=UNLIMITED)


@pytest.fixture
async def cloud(openstack_cloud: OpenStackCloud, installation: str) -> AsyncIterator[OpenStackCloud]:
    """The adapter; its machines are deleted afterwards."""
    yield openstack_cloud
    await openstack_cloud.delete([machine.id for machine in await openstack_cloud.machines(installation)])
    await eventually(lambda: openstack_cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)


async def used(cloud: OpenStackCloud) -> int:
    return (await cloud.offers()).quota.machines_used


async def test_quota_is_told_beforehand_and_a_batch_beyond_it_is_refused_as_a_whole(
    cloud: OpenStackCloud, administrator: Administrator, installation: str
) -> None:
    before = await used(cloud)
    await administrator.grant(instances=before + 1)
    assert (await cloud.offers()).quota.machines_limit == before + 1
    with pytest.raises(QuotaExceeded, match="2 instances needed, 1 free"):
        await cloud.create(batch(installation, 1, 2))
    assert await cloud.machines(installation) == []


async def test_quota_that_ends_on_the_way_leaves_what_was_made(
    cloud: OpenStackCloud, administrator: Administrator, installation: str
) -> None:
    await administrator.grant(instances=await used(cloud) + 1)
    made = await cloud.create(batch(installation, *range(2, 8)))  # one call each, which Nova counts loosely
    machines = await eventually(
        lambda: cloud.machines(installation),
        lambda all_of: all(machine.state is not CloudMachineState.BUILDING for machine in all_of),
        PATIENCE_S,
    )
    assert {machine.id for machine in machines} == {machine.id for machine in made} != set()
    beyond = [machine for machine in machines if machine.state is CloudMachineState.ERROR]
    assert len(made) < 6 or beyond, "what Nova let in, it finds out a moment later"
    assert all("Quota exceeded" in (machine.fault or "") for machine in beyond)


async def test_quota_of_processors_is_named(
    cloud: OpenStackCloud, administrator: Administrator, installation: str
) -> None:
    limits = (await administrator.api.get("compute", "/limits"))["limits"]["absolute"]
    await administrator.grant(cores=limits["totalCoresUsed"])
    with pytest.raises(QuotaExceeded, match="cores"):
        await cloud.create(batch(installation, 1))
    quota = [finding for finding in await cloud.check() if finding.about == "quota"]
    assert FindingLevel.FATAL in [finding.level for finding in quota]


async def test_machine_that_fits_nowhere_is_in_error_with_novas_words(
    openstack_config: OpenStackConfig, administrator: Administrator, installation: str
) -> None:
    flavor = {"name": f"huge-{uuid4()}", "vcpus": 100_000, "ram": 64, "disk": 1}
    made = (await administrator.api.post("compute", "/flavors", {"flavor": flavor}))["flavor"]
    cloud = OpenStackCloud("huge", openstack_config.model_copy(update={"machine_types": {"huge": flavor["name"]}}))
    await cloud.create(batch(installation, 1, machine_type="huge"))
    (machine,) = await eventually(
        lambda: cloud.machines(installation),
        lambda all_of: all(machine.state is CloudMachineState.ERROR for machine in all_of),
        PATIENCE_S,
    )
    assert machine.fault
    assert "No valid host" in machine.fault
    await cloud.delete([machine.id])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await administrator.api.delete("compute", f"/flavors/{made['id']}")
    await cloud.close()
