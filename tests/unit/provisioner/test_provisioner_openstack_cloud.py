"""What the OpenStack adapter decides by itself: what Nova is asked for, what its answers mean, how fast it is asked."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from keystoneauth1.identity.v3 import ApplicationCredentialMethod
from openstack.exceptions import ConfigException
from pydantic import TypeAdapter, ValidationError

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds import CloudConfig, make_clouds
from caravan_provisioner.clouds.base import CloudMachineState, MachineBatch, Owner
from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_api import entry_of
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_http import Pace, path_of, retry_after
from caravan_provisioner.clouds.openstack_names import near
from caravan_provisioner.clouds.openstack_quota import granted
from caravan_provisioner.clouds.openstack_server import (
    Boot,
    exceeded,
    host_keys,
    is_leaving,
    leaving_since,
    machine,
    requests_for,
    tag,
    volumes,
)
from caravan_provisioner.clouds.openstack_zones import Zones
from caravan_provisioner.store import Table
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

BOOT = Boot("flavor-id", "image-id", ["net-a", "net-b"])
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def config(**more: Any) -> OpenStackConfig:
    return OpenStackConfig(image="debian", networks=("private",), **more)


def batch(*numbers: int, role: Role = Role.WORKER, name: str = "k3x9") -> MachineBatch:
    owner = Owner("home", UUID(int=7), role.value, role, name)
    return MachineBatch(f"c1-{name}", numbers, "small", owner, "#cloud-config\n{}\n")


def listed(**more: Any) -> dict[str, Any]:
    """A server as Nova lists it."""
    addresses = {
        "private": [
            {"addr": "fd00::5", "OS-EXT-IPS:type": "fixed"},
            {"addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed"},
            {"addr": "203.0.113.5", "OS-EXT-IPS:type": "floating"},
        ],
        "storage": [{"addr": "192.168.0.5", "OS-EXT-IPS:type": "fixed"}],
    }
    server = {
        "id": "abc",
        "name": "c1-k3x9-1",
        "status": "ACTIVE",
        "addresses": addresses,
        "flavor": {"original_name": "m1.small"},
        "metadata": batch(1).owner.tags() | {"caravan-machine-type": "small"},
        "created": "2026-05-01T11:59:00Z",
        "updated": "2026-05-01T12:00:00Z",
    }
    return server | more


def test_whole_batch_is_one_request_named_as_nova_counts() -> None:
    (request,) = requests_for(batch(1, 2, 3), BOOT, config(security_groups=("web",), key_pair="ops"), Zones(()))
    assert (request["name"], request["min_count"], request["max_count"]) == ("c1-k3x9", 3, 3)
    assert request["networks"] == [{"uuid": "net-a"}, {"uuid": "net-b"}]
    assert request["tags"] == ["caravan=home"]
    assert request["metadata"]["caravan-cluster"] == str(UUID(int=7))
    assert base64.b64decode(request["user_data"]) == b"#cloud-config\n{}\n"
    assert (request["security_groups"], request["key_name"]) == ([{"name": "web"}], "ops")
    assert (request["imageRef"], "block_device_mapping_v2" in request) == ("image-id", False)


@pytest.mark.parametrize("numbers", [(7,), (2, 3), (1, 3)])
def test_what_nova_would_name_otherwise_is_a_request_each(numbers: tuple[int, ...]) -> None:
    requests = requests_for(batch(*numbers), BOOT, config(), Zones(()))
    assert [request["name"] for request in requests] == [f"c1-k3x9-{number}" for number in numbers]
    assert all("min_count" not in request for request in requests)


def test_control_planes_are_spread_over_zones_one_by_one_and_workers_by_the_batch() -> None:
    zoned = config(availability_zones=("a", "b"))
    zones = Zones(zoned.availability_zones)
    control_planes = requests_for(batch(1, 2, 3, role=Role.CONTROL_PLANE), BOOT, zoned, zones)
    assert [request["availability_zone"] for request in control_planes] == ["a", "b", "a"]
    batches = [requests_for(batch(1, 2, name=name), BOOT, zoned, zones) for name in ("aaaa", "aaab", "aaac")]
    assert [request["availability_zone"] for (request,) in batches] == ["a", "b", "a"]


def test_zone_that_lost_a_machine_gets_the_next_one() -> None:
    zones = Zones(("a", "b", "c"))
    placed = [listed(**{"OS-EXT-AZ:availability_zone": zone}) for zone in ("a", "c", "elsewhere")]
    machines = [machine(each, None, floating=False) for each in placed]
    zones.count(machines, placed)
    owner = machines[0].owner
    assert owner
    assert [zones.take(owner) for _ in range(4)] == ["b", "a", "b", "c"]
    assert zones.take(replace(owner, node_set="other")) == "a", "sets are spread each for itself"


def test_boot_volume_goes_with_its_machine() -> None:
    (request,) = requests_for(batch(1), BOOT, config(boot_volume_gib=40, boot_volume_type="ssd"), Zones(()))
    (volume,) = request["block_device_mapping_v2"]
    assert volume["delete_on_termination"]
    assert (volume["uuid"], volume["volume_size"], volume["volume_type"]) == ("image-id", 40, "ssd")
    assert "imageRef" not in request, "Nova would take the machine for one with a local disk"


def test_type_of_boot_volumes_without_a_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="without boot_volume_gib"):
        config(boot_volume_type="ssd")


def test_volumes_that_go_with_a_machine_are_told_from_those_that_somebody_lent_it() -> None:
    attached = [{"id": "own", "delete_on_termination": True}, {"id": "lent", "delete_on_termination": False}]
    assert volumes(listed(**{"os-extended-volumes:volumes_attached": attached})) == {"own"}
    assert volumes(listed()) == set()


def test_address_is_the_fixed_ipv4_one_that_of_the_subnet_or_the_floating_one() -> None:
    assert machine(listed(), None, floating=False).address == "10.0.0.5"
    assert machine(listed(), ip_network("192.168.0.0/24"), floating=False).address == "192.168.0.5"
    assert machine(listed(), None, floating=True).address == "203.0.113.5"
    assert machine(listed(addresses={}), None, floating=False).address is None


def test_machine_knows_its_owner_by_metadata_and_a_foreign_one_has_none() -> None:
    assert machine(listed(), None, floating=False).owner == batch(1).owner
    foreign = machine(listed(metadata={"a": "b"}), None, floating=False)
    assert (foreign.owner, foreign.machine_type) == (None, "m1.small")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("BUILD", CloudMachineState.BUILDING),
        ("ERROR", CloudMachineState.ERROR),
        ("ACTIVE", CloudMachineState.ACTIVE),
        ("SHUTOFF", CloudMachineState.STOPPED),
    ],
)
def test_novas_states_in_our_words(status: str, state: CloudMachineState) -> None:
    assert machine(listed(status=status), None, floating=False).state is state


def test_fault_is_told_in_the_clouds_words() -> None:
    fault = {"code": 500, "message": "No valid host was found.", "details": "Traceback"}
    told = machine(listed(status="ERROR", fault=fault), None, floating=False)
    assert told.fault == "Nova could not make it (500): No valid host was found."


def test_server_that_nova_is_at_deleting_is_known_by_its_task() -> None:
    assert is_leaving(listed(**{"OS-EXT-STS:task_state": "deleting"}))
    assert not is_leaving(listed(**{"OS-EXT-STS:task_state": None}))
    assert is_leaving(listed(status="DELETED", **{"OS-EXT-STS:task_state": None})), "it is about to be forgotten"


def test_a_deletion_that_a_listing_was_too_early_for_counts_until_the_next_listing() -> None:
    before, later = NOW - timedelta(seconds=60), NOW + timedelta(seconds=1)
    going = listed(id="going", **{"OS-EXT-STS:task_state": "deleting"})
    seen = leaving_since([going, listed(id="kept")], {"going": before, "asked-meanwhile": later, "gone": before}, NOW)
    assert seen == {"going": before, "asked-meanwhile": later}


def test_every_machine_boots_with_a_host_key_of_its_own_that_its_listing_tells() -> None:
    requests = requests_for(batch(1, 2), BOOT, config(host_keys="user-data"), Zones(()))
    assert [request["name"] for request in requests] == ["c1-k3x9-1", "c1-k3x9-2"], "one call each"
    told = [machine(listed(metadata=request["metadata"]), None, floating=False).host_keys for request in requests]
    assert told[0] != told[1]
    for request, (public,) in zip(requests, told, strict=True):
        parts: Any = message_from_bytes(base64.b64decode(request["user_data"])).get_payload()
        given, own = parts
        assert given.get_payload(decode=True) == b"#cloud-config\n{}\n"
        assert {part.get_content_type() for part in (given, own)} == {"text/cloud-config"}
        keys = yaml.safe_load(own.get_payload(decode=True))["ssh_keys"]
        private = load_ssh_private_key(keys["ed25519_private"].encode(), password=None)
        assert private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == public


def test_host_keys_are_read_from_the_last_boots_block_alone() -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
    block = "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 {} root@x\n-----END SSH HOST KEY KEYS-----\n"
    text = f"ssh-ed25519 {'C' * 68} typed by someone\n" + block.format("D" * 68) + block.format(key)
    assert host_keys(text) == (f"ssh-ed25519 {key}",)
    assert host_keys("FAKE CONSOLE OUTPUT") == ()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "Quota exceeded for instances, cores: Requested 3, 12, but already used 8, 10 of 10, 40 instances, cores",
            ("instances", 3, 2),
        ),
        (
            "Quota exceeded for instances, ram: Requested 1, 8192, but already used 8, 4096 of 10, 8192 instances, ram",
            ("ram", 8192, 4096),
        ),
        (
            "Resource P is over limit for [Resource servers is over limit of 2 due to current usage 2 and delta 1]",
            ("servers", 1, 0),
        ),
        ("Resource servers is over limit of 5 due to current usage 4 and delta 3", ("servers", 3, 1)),
        ("Flavor nope could not be found.", None),
    ],
)
def test_refusal_for_quota_names_what_is_needed_and_free(message: str, told: tuple[str, int, int] | None) -> None:
    assert exceeded(message) == told


@pytest.mark.parametrize(
    ("most", "free"),
    [
        ({}, None),
        ({"maxTotalInstances": 10}, 6),
        ({"maxTotalInstances": 10, "maxTotalVolumes": 7}, 2),
        ({"maxTotalVolumeGigabytes": 190}, 3),
        ({"maxTotalVolumes": 3}, 0),
    ],
)
def test_quota_leaves_room_for_as_many_machines_as_can_have_a_boot_volume_too(
    most: dict[str, int], free: int | None
) -> None:
    nova = {"maxTotalInstances": -1, "totalInstancesUsed": 4}
    cinder = {"maxTotalVolumes": -1, "totalVolumesUsed": 5, "maxTotalVolumeGigabytes": -1, "totalGigabytesUsed": 60}
    quota = granted(nova | most, cinder | most, 40)
    assert (quota.machines_limit, quota.machines_used) == (None if free is None else 4 + free, 4)


def test_quota_of_volumes_is_no_matter_where_machines_have_none() -> None:
    assert granted({"maxTotalInstances": 10, "totalInstancesUsed": 4}, None, None).machines_limit == 10


def test_tag_of_any_installation_is_one_that_nova_takes() -> None:
    assert len(tag("x" * 52)) == 60


def test_requests_are_spaced_and_a_cloud_that_asks_for_peace_gets_it() -> None:
    clock, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    pace = Pace(per_s=2, in_flight=1, now=lambda: clock[0], sleep=sleep)
    for _ in range(3):
        with pace:
            pass
    assert slept == [0, 0.5, 0.5]
    pace.leave_alone(30)
    with pace:
        pass
    assert slept[-1] == 30


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("Fri, 01 May 2026 12:00:30 GMT", 30), ("Fri, 01 May 2026 11:00:00 GMT", 0), ("soon", None), ("", None)],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value} if value else {}, NOW) == seconds


def test_equal_requests_count_as_one_kind() -> None:
    assert path_of(f"http://nova/v2.1/servers/{UUID(int=3)}/action?x=1") == "/v2.1/servers/{id}/action"
    assert path_of("http://nova/v2.1/os-keypairs/of-a-user") == "/v2.1/os-keypairs/{id}"


def test_near_names_come_first() -> None:
    assert near("m1.smal", ["m1.small", "m1.large", "gpu"]) == "m1.small"


CLOUDS = """
clouds:
  prod:
    region_name: RegionOne
    auth_type: v3applicationcredential
    auth: {auth_url: "https://keystone.test/v3", application_credential_id: x, application_credential_secret: y}
  wide:
    regions: [RegionOne, RegionTwo]
    auth: {auth_url: "https://keystone.test/v3", username: x, password: y, project_name: p, user_domain_name: d}
"""


def test_one_entry_of_clouds_yaml_serves_several_regions(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)

    def region(cloud: str, region: str | None) -> str:
        return str(entry_of(config(clouds_file=file, cloud=cloud, region=region)).region_name)

    assert [region("prod", wanted) for wanted in (None, "RegionTwo")] == ["RegionOne", "RegionTwo"]
    assert [region("wide", wanted) for wanted in ("RegionOne", "RegionTwo")] == ["RegionOne", "RegionTwo"]
    with pytest.raises(ConfigException, match="RegionOne,RegionTwo"):
        region("wide", "RegionThree")


def test_entry_with_an_application_credential_logs_in_by_it(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    session: Any = entry_of(config(clouds_file=file, cloud="prod")).get_session()
    (method,) = session.auth.auth_methods
    assert isinstance(method, ApplicationCredentialMethod)


def test_configuration_picks_the_adapter_and_refuses_what_it_does_not_know() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(dict[str, CloudConfig])
    configs = adapter.validate_python({"lab": {"kind": "openstack", "image": "debian", "networks": ["private"]}})
    unused = Database("sqlite+aiosqlite://", Table.metadata, MIGRATIONS)
    assert isinstance(make_clouds(configs, unused, SystemClock(), KeyRing({}, ""))["lab"], OpenStackCloud)
    with pytest.raises(ValidationError, match="flavour"):
        adapter.validate_python({"lab": {"kind": "openstack", "image": "d", "networks": ["p"], "flavour": "m1"}})
    with pytest.raises(ValidationError, match="at least 1"):
        adapter.validate_python({"lab": {"kind": "openstack", "image": "d", "networks": []}})
