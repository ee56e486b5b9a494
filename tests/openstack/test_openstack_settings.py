"""What an operator configures, tried on a real OpenStack: every option is accepted, every wrong name is told."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from caravan_provisioner.clouds.base import CloudMachineState, MachineBatch, Owner
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_api import ServiceName, entry_of
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_names import UnknownName
from caravan_shared.contracts.facts import FindingLevel
from caravan_shared.contracts.spec import Role
from tests.contracts.cloud_suite import eventually
from tests.openstack.conftest import PATIENCE_S, Project

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(600)]


@pytest.fixture
async def key_pair(project: Project) -> AsyncIterator[str]:
    """A key pair of the test's own."""
    name = f"suite-{uuid4()}"
    await project.api.post("compute", "/os-keypairs", {"keypair": {"name": name}})
    yield name
    await project.api.delete("compute", f"/os-keypairs/{name}")


async def test_machine_has_all_that_is_configured(
    openstack_config: OpenStackConfig, project: Project, installation: str, key_pair: str
) -> None:
    subnets = await project.api.pages("network", "/subnets")
    (network,) = await project.api.pages("network", "/networks", {"name": openstack_config.networks[0]})
    wanted = {
        "subnet": next(each["id"] for each in subnets if each["network_id"] == network["id"]),
        "security_groups": ("default",),
        "availability_zones": ("nova",),
        "key_pair": key_pair,
        "config_drive": True,
    }
    cloud = OpenStackCloud("full", openstack_config.model_copy(update=wanted))
    assert FindingLevel.FATAL not in [finding.level for finding in await cloud.check()]
    owner = Owner(installation, uuid4(), "control-plane", Role.CONTROL_PLANE, "k3x9")
    (made,) = await cloud.create(MachineBatch("suite-k3x9", (1,), "small", owner, "#cloud-config\n{}\n"))
    (machine,) = await eventually(
        lambda: cloud.machines(installation), lambda all_of: all_of[0].state is CloudMachineState.ACTIVE, PATIENCE_S
    )
    assert machine.address
    server = (await project.api.get("compute", f"/servers/{made.id}"))["server"]
    assert (server["key_name"], server["config_drive"]) == (key_pair, "True")
    assert server["OS-EXT-AZ:availability_zone"] == "nova"
    assert [group["name"] for group in server["security_groups"]] == ["default"]
    await cloud.delete([made.id])
    await eventually(lambda: cloud.machines(installation), lambda all_of: not all_of, PATIENCE_S)
    await cloud.close()


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"image": "no such image"}, "image"),
        ({"machine_types": {"small": "no such flavor"}}, "flavor"),
        ({"networks": ("no such network",)}, "network"),
        ({"security_groups": ("no such group",)}, "security group"),
        ({"availability_zones": ("no such zone",)}, "zone"),
    ],
)
async def test_check_tells_of_a_wrong_name_with_those_that_are_near(
    openstack_config: OpenStackConfig, wrong: dict[str, object], kind: str
) -> None:
    cloud = OpenStackCloud("wrong", openstack_config.model_copy(update=wrong))
    told = [finding for finding in await cloud.check() if f"it has no {kind} 'no such" in finding.says]
    await cloud.close()
    assert {finding.level for finding in told} == {FindingLevel.FATAL}
    assert all("; there is " in finding.says and finding.mend for finding in told)


@pytest.fixture
async def network(project: Project) -> AsyncIterator[str]:
    """The id of a network of the test's own, without a subnet."""
    wish = {"network": {"name": f"suite-{uuid4()}"}}
    network = (await project.api.post("network", "/networks", wish))["network"]["id"]
    yield network
    await project.api.delete("network", f"/networks/{network}")


async def test_check_tells_what_a_network_lacks(
    openstack_config: OpenStackConfig, project: Project, network: str
) -> None:
    cloud = OpenStackCloud("lonely", openstack_config.model_copy(update={"networks": (network,)}))

    async def told() -> dict[str, FindingLevel]:
        return {found.says: found.level for found in await cloud.check() if found.about == f"network {network}"}

    assert await told() == {"it has no subnet, so machines get no address": FindingLevel.FATAL}
    subnet = {"network_id": network, "ip_version": 4, "cidr": "198.51.100.0/24"}
    await project.api.post("network", "/subnets", {"subnet": subnet})
    assert await told() == {
        "198.51.100.0/24": FindingLevel.OK,
        "no router of the project is on it: machines reach what is in it and no more": FindingLevel.WARNING,
        "its subnets name no DNS servers; machines ask whatever DHCP tells them": FindingLevel.WARNING,
    }
    await project.api.put("network", f"/networks/{network}", {"network": {"admin_state_up": False}})
    assert set((await told()).values()) == {FindingLevel.FATAL}
    await cloud.close()


async def test_check_tells_of_security_groups_that_shut_everybody_out(
    openstack_config: OpenStackConfig, project: Project
) -> None:
    wish = {"security_group": {"name": f"suite-{uuid4()}"}}
    group = (await project.api.post("network", "/security-groups", wish))["security_group"]
    shut = OpenStackCloud("shut", openstack_config.model_copy(update={"security_groups": (group["name"],)}))

    async def told() -> list[tuple[FindingLevel, str]]:
        return [(each.level, each.says) for each in await shut.check() if each.about == "security groups"]

    ((level, says),) = await told()
    assert level is FindingLevel.WARNING
    assert "at 22 (SSH, by which the playbooks come), 6443 (the kube-apiserver)" in says
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    for port in (22, 6443):
        entrance = rule | {"port_range_min": port, "port_range_max": port}
        await project.api.post("network", "/security-group-rules", {"security_group_rule": entrance})
    assert await told() == [(FindingLevel.OK, group["name"])]
    await shut.close()
    await project.api.delete("network", f"/security-groups/{group['id']}")


@pytest.mark.parametrize("wrong", [{"image": "no such image"}, {"machine_types": {"small": "no such flavor"}}])
async def test_cloud_with_a_wrong_image_or_flavor_offers_nothing(
    openstack_config: OpenStackConfig, wrong: dict[str, object]
) -> None:
    cloud = OpenStackCloud("wrong", openstack_config.model_copy(update=wrong))
    with pytest.raises(UnknownName, match="no such"):
        await cloud.offers()
    await cloud.close()


@pytest.mark.parametrize(
    ("service", "path"), [("compute", "/flavors/detail"), ("network", "/networks"), ("image", "/images")]
)
async def test_list_is_read_to_its_last_page(project: Project, service: ServiceName, path: str) -> None:
    whole = await project.api.pages(service, path)
    by_one = await project.api.pages(service, path, {"limit": "1"})
    assert {each["id"] for each in by_one} == {each["id"] for each in whole}
    assert len(by_one) == len(whole)


async def test_application_credential_opens_the_cloud(openstack_config: OpenStackConfig, tmp_path: Path) -> None:
    entry = entry_of(openstack_config)
    session, keystone = entry.get_session(), str(entry.config["auth"]["auth_url"])
    user = await asyncio.to_thread(session.get_user_id)
    path = f"{keystone.removesuffix('/')}/users/{user}/application_credentials"
    told = {"name": f"suite-{uuid4()}", "secret": secrets.token_hex()}
    made = await asyncio.to_thread(session.post, path, json={"application_credential": told})
    credential = made.json()["application_credential"]["id"]
    auth = {"auth_url": keystone}
    auth |= {"application_credential_id": credential, "application_credential_secret": told["secret"]}
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"by-it": {"auth_type": "v3applicationcredential", "auth": auth}}}))
    cloud = OpenStackCloud("by-it", openstack_config.model_copy(update={"clouds_file": file, "cloud": "by-it"}))
    assert [offered.name for offered in (await cloud.offers()).machine_types] == ["small"]
    await cloud.close()
    await asyncio.to_thread(session.delete, f"{path}/{credential}")
