"""What the OpenStack adapter does when calls are lost, refused, put off and slow, on a real cloud behind a proxy."""

from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.base import (
    CloudMachineState,
    CloudRefused,
    CloudUnavailable,
    Machine,
)
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_shared.contracts.spec import Role
from tests.contracts.cloud_suite import eventually
from tests.openstack.batches import all_in, batch
from tests.openstack.conftest import PATIENCE_S, Project, behind
from tests.support.openstack_proxy import Proxy

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900)]

SERVERS = r"^POST /v2[.\d]*/servers$"
CLUSTER = uuid4()


@pytest.fixture
async def cloud(openstack_config: OpenStackConfig, proxy: Proxy) -> AsyncIterator[OpenStackCloud]:
    """The adapter, behind the proxy, reaching machines at floating IPs."""
    async with behind(proxy, openstack_config) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
async def nothing_left(
    cloud: OpenStackCloud, proxy: Proxy, project: Project, installation: str
) -> AsyncIterator[dict[str, int]]:
    """Every test ends with as much in the project as there was; what others have stays."""
    before = await project.counts()
    yield before
    proxy.faults.clear()
    await cloud.delete([machine.id for machine in await cloud.machines(installation)])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await project.until(before)


async def test_lost_reply_of_a_bulk_is_no_answer_and_never_a_second_call(
    cloud: OpenStackCloud, proxy: Proxy, installation: str
) -> None:
    proxy.fault(SERVERS, loses_reply=True)
    with pytest.raises(CloudUnavailable, match="does not answer"):
        await cloud.create(batch(installation, 1, 2))
    assert proxy.count(SERVERS) == 1
    machines = await cloud.machines(installation)
    assert sorted(machine.name for machine in machines) == ["suite-worker-1", "suite-worker-2"]


async def test_lost_request_makes_nothing(cloud: OpenStackCloud, proxy: Proxy, installation: str) -> None:
    proxy.fault(SERVERS, loses_request=True)
    with pytest.raises(CloudUnavailable):
        await cloud.create(batch(installation, 1))
    assert proxy.count(SERVERS) == 1
    assert await cloud.machines(installation) == []


async def test_server_group_whose_reply_was_lost_is_found_and_used(
    cloud: OpenStackCloud, proxy: Proxy, project: Project, installation: str, nothing_left: dict[str, int]
) -> None:
    proxy.fault(r"^POST .*/os-server-groups$", loses_reply=True)
    with pytest.raises(CloudUnavailable):
        await cloud.create(batch(installation, 1, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    assert proxy.count(SERVERS) == 0
    await cloud.create(batch(installation, 1, 3, role=Role.CONTROL_PLANE, cluster=CLUSTER))
    assert proxy.count(r"^POST .*/os-server-groups$") == 1
    assert (await project.counts())["server groups"] == nothing_left["server groups"] + 1
    (group,) = [
        each
        for each in await project.api.pages("compute", "/os-server-groups")
        if each["name"] == f"caravan {installation} {CLUSTER}/control-plane"
    ]
    machines = await all_in(cloud, installation, CloudMachineState.ACTIVE, 2)
    assert set(group["members"]) | {machine.id for machine in machines} == {machine.id for machine in machines}
    assert sorted(machine.name for machine in machines) == ["suite-control-plane-1", "suite-control-plane-3"]


async def test_deletion_whose_reply_was_lost_is_repeated(
    cloud: OpenStackCloud, proxy: Proxy, installation: str
) -> None:
    (made,) = await cloud.create(batch(installation, 1))
    proxy.fault(r"^DELETE .*/servers/", loses_reply=True)
    await cloud.delete([made.id])
    assert proxy.count(r"^DELETE .*/servers/") == 2
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)


@pytest.mark.parametrize("status", [429, 503])
async def test_cloud_that_asks_for_peace_gets_it_and_a_create_is_not_repeated(
    cloud: OpenStackCloud, proxy: Proxy, installation: str, status: int
) -> None:
    await cloud.offers()
    proxy.fault(SERVERS, status=status, headers={"Retry-After": "2"})
    with pytest.raises(CloudUnavailable) as told:
        await cloud.create(batch(installation, 1))
    assert told.value.after == 2
    assert proxy.count(SERVERS) == 1
    proxy.fault(r"^GET .*/servers/detail$", status=status, headers={"Retry-After": "1"})
    assert await cloud.machines(installation) == []
    assert proxy.count(r"^GET .*/servers/detail$") == 2


async def test_token_that_ended_is_renewed_on_the_way(cloud: OpenStackCloud, proxy: Proxy, installation: str) -> None:
    await cloud.offers()
    tokens = proxy.count(r"^POST .*/auth/tokens$")
    proxy.fault(SERVERS, status=401)
    (made,) = await cloud.create(batch(installation, 1))
    assert proxy.count(r"^POST .*/auth/tokens$") == tokens + 1
    assert [machine.id for machine in await cloud.machines(installation)] == [made.id]


async def test_credentials_that_are_refused_are_the_operators_to_mend(
    cloud: OpenStackCloud, proxy: Proxy, installation: str
) -> None:
    proxy.fault(r"^POST .*/auth/tokens$", status=401, times=5)
    with pytest.raises(CloudRefused, match="credentials"):
        await cloud.create(batch(installation, 1))


async def test_answer_that_comes_too_late_may_have_been_carried_out(
    openstack_config: OpenStackConfig, proxy: Proxy, installation: str, cloud: OpenStackCloud
) -> None:
    hasty = OpenStackCloud(
        "hasty", openstack_config.model_copy(update={"clouds_file": proxy.clouds_file, "timeout_s": 30})
    )
    await hasty.offers()
    proxy.fault(SERVERS, delay_s=60)
    with pytest.raises(CloudUnavailable):
        await hasty.create(batch(installation, 1))
    await hasty.close()
    assert [machine.name for machine in await cloud.machines(installation)] == ["suite-worker-1"]
    assert proxy.count(SERVERS) == 1


async def test_host_keys_come_from_each_machines_console_once(
    cloud: OpenStackCloud, proxy: Proxy, installation: str
) -> None:
    await cloud.create(batch(installation, 1, 2))
    machines = await cloud.complete(await all_in(cloud, installation, CloudMachineState.ACTIVE, 2))
    assert await cloud.complete(machines) == machines
    assert {key.split()[0] for machine in machines for key in machine.host_keys} == {"ssh-ed25519"}
    assert len({machine.host_keys for machine in machines}) == 2
    assert proxy.count(r"/action$") == 2


async def test_floating_ip_whose_reply_was_lost_is_the_machines_only_one(
    openstack_config: OpenStackConfig, proxy: Proxy, project: Project, installation: str, floating_network: str,
    nothing_left: dict[str, int],
) -> None:  # fmt: skip
    cloud = OpenStackCloud(
        "floating",
        openstack_config.model_copy(update={"clouds_file": proxy.clouds_file, "floating_network": floating_network}),
    )
    proxy.fault(r"^POST .*/floatingips$", loses_reply=True)
    await cloud.create(batch(installation, 1))

    def has_address(machines: Sequence[Machine]) -> bool:
        return all(machine.address for machine in machines)

    (machine,) = await eventually(lambda: cloud.machines(installation), has_address, PATIENCE_S)
    (floating,) = [
        each
        for each in await project.api.pages("network", "/floatingips")
        if each["description"] == f"caravan {installation} {machine.id}"
    ]
    assert floating["floating_ip_address"] == machine.address
    await cloud.delete([machine.id])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await project.until(nothing_left)
    await cloud.close()


async def test_port_that_outlived_its_machine_goes_and_a_lent_one_stays(
    cloud: OpenStackCloud, project: Project, installation: str
) -> None:
    (made,) = await cloud.create(batch(installation, 1))
    (machine,) = await all_in(cloud, installation, CloudMachineState.ACTIVE, 1)
    (port,) = (await project.api.get("network", "/ports", {"device_id": machine.id}))["ports"]
    await project.api.delete("compute", f"/servers/{made.id}")
    await project.until_gone(made.id)
    for name in ("", "somebody's own"):  # as if Nova had not reached Neutron, and as if somebody had lent a port
        left = {key: port[key] for key in ("network_id", "device_id", "device_owner")}
        await project.api.post("network", "/ports", {"port": {**left, "name": name}})
    assert await cloud.machines(installation) == []
    (kept,) = (await project.api.get("network", "/ports", {"device_id": made.id}))["ports"]
    assert kept["name"] == "somebody's own"
    await project.api.delete("network", f"/ports/{kept['id']}")
