"""What the Docker adapter decides by itself: what a container is asked for, what one means, which subnet is free."""

import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from caravan_provisioner.app import MIGRATIONS
from caravan_provisioner.clouds import CloudConfig, docker_machine, docker_network, make_clouds
from caravan_provisioner.clouds.base import (
    CloudMachineState,
    CloudUnavailable,
    MachineBatch,
    Owner,
    UnusableVirtualIp,
)
from caravan_provisioner.clouds.docker import DockerCloud
from caravan_provisioner.clouds.docker_config import DockerConfig, Size
from caravan_provisioner.clouds.docker_machine import Host
from caravan_provisioner.store import Table
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OWNER = Owner("home", UUID(int=7), "workers", Role.WORKER, "k3x9")
BATCH = MachineBatch("c1-workers-k3x9", (1, 2), "small", OWNER, "#cloud-config\n{}\n")
KEY = "ssh-ed25519 AAAAC3Nza"


def container(*, host: Host | None = None, privileged: bool = True) -> dict[str, Any]:
    """What an engine is asked for."""
    return docker_machine.container(
        BATCH,
        "c1-workers-k3x9-1",
        image="caravan-node:latest",
        size=Size(cpus=4, memory_mib=2048),
        host=host or Host(cpus=8, limits_cpus=True, limits_memory=True),
        mounts=("/srv/mirror:/srv/mirror:ro",),
        network="net",
        privileged=privileged,
    )


def listed(state: str = "running", *, age_s: float = 5, address: str = "10.89.0.2") -> dict[str, Any]:
    """A container as an engine lists it."""
    return {
        "Id": "abc",
        "State": state,
        "Created": int((NOW - timedelta(seconds=age_s)).timestamp()),
        "Labels": container()["Labels"],
        "NetworkSettings": {"Networks": {"caravan": {"IPAddress": address}}},
    }


def network(cluster: str, *, installation: str = "home", age_s: float = 3600) -> dict[str, Any]:
    """A network as an engine lists it, its clock two hours east."""
    made = (NOW - timedelta(seconds=age_s)).replace(tzinfo=None) + timedelta(hours=2)
    return {
        "Id": f"net-{cluster}",
        "Created": f"{made.isoformat()}.123456789+02:00",
        "Labels": {"caravan-installation": installation, "caravan-cluster": cluster},
    }


def test_container_carries_its_owner_its_name_and_its_type() -> None:
    asked = container()
    assert Owner.of(asked["Labels"]) == OWNER
    machine = docker_machine.machine(listed(), (KEY,), None, NOW)
    assert (machine.name, machine.machine_type, machine.owner) == ("c1-workers-k3x9-1", "small", OWNER)
    assert asked["Hostname"] == "c1-workers-k3x9-1"


def test_user_data_is_neither_in_labels_nor_in_the_environment() -> None:
    assert "#cloud-config" not in json.dumps(container())


def test_limits_are_no_larger_than_the_host_and_only_what_the_engine_can_set() -> None:
    asked = container(host=Host(cpus=2, limits_cpus=True, limits_memory=True))["HostConfig"]
    assert (asked["NanoCpus"], asked["Memory"]) == (2_000_000_000, 2048 * 2**20)
    bare = container(host=Host(cpus=2, limits_cpus=False, limits_memory=False))["HostConfig"]
    assert not {"NanoCpus", "Memory", "MemorySwap"} & bare.keys()


def test_engine_that_grants_no_privileges_is_asked_for_all_but_one_capability() -> None:
    assert container()["HostConfig"]["Privileged"] is True
    asked = container(privileged=False)["HostConfig"]
    assert "Privileged" not in asked
    assert (asked["CapAdd"], asked["CapDrop"]) == (["ALL"], ["SYS_RESOURCE"])


def test_seed_holds_user_data_and_a_name_for_root_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(docker_machine.seed("c1-1-ab12", "c1-1", "#cloud-config\n"))) as tar:
        files = {entry.name: (entry.mode, tar.extractfile(entry)) for entry in tar.getmembers()}
        assert {mode for mode, _ in files.values()} == {0o600}
        texts = {name: content.read().decode() for name, (_, content) in files.items() if content}
    assert json.loads(texts["meta-data"]) == {"instance-id": "c1-1-ab12", "local-hostname": "c1-1"}
    assert texts["user-data"] == "#cloud-config\n"


@pytest.mark.parametrize(
    ("seen", "keys", "state"),
    [
        (listed("created"), (), CloudMachineState.BUILDING),
        (listed("running"), (), CloudMachineState.BUILDING),
        (listed("running", address=""), (KEY,), CloudMachineState.BUILDING),
        (listed("running"), (KEY,), CloudMachineState.ACTIVE),
        (listed("paused"), (KEY,), CloudMachineState.ACTIVE),
        (listed("removing"), (KEY,), CloudMachineState.BUILDING),
        (listed("created", age_s=600), (), CloudMachineState.ERROR),
    ],
)
def test_machine_is_active_once_it_runs_and_its_address_and_host_keys_are_known(
    seen: dict[str, Any], keys: tuple[str, ...], state: CloudMachineState
) -> None:
    assert docker_machine.machine(seen, keys, None, NOW).state is state


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"ExitCode": 137, "OOMKilled": False, "Error": ""}, "exit code 137: it was killed"),
        ({"ExitCode": 137, "OOMKilled": True, "Error": ""}, "exit code 137: it ran out of memory"),
        ({"ExitCode": 255, "OOMKilled": False, "Error": "no such device"}, "exit code 255: no such device"),
        ({"ExitCode": 1, "OOMKilled": False, "Error": ""}, "exit code 1"),
    ],
)
def test_dead_machine_says_what_it_died_of(state: dict[str, Any], fault: str) -> None:
    machine = docker_machine.machine(listed("exited"), (), docker_machine.fault(state), NOW)
    assert machine.state is CloudMachineState.STOPPED
    assert machine.fault == f"its container stopped with {fault}"


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"ssh-ed25519 AAAAC3Nza root@c1\n", (KEY,)),
        (b"ssh-ed25519 AAAAC3Nza\n", (KEY,)),
        (b"ssh-ed25519 AAAAC3N", ()),
        (b"", ()),
        (None, ()),
    ],
)
def test_host_key_counts_once_it_is_written_to_its_end(content: bytes | None, keys: tuple[str, ...]) -> None:
    assert docker_machine.host_keys(content) == keys


@pytest.mark.parametrize(("machines", "prefix"), [(1, 24), (253, 24), (254, 23), (1021, 22), (1022, 21)])
def test_subnet_has_room_for_every_machine(machines: int, prefix: int) -> None:
    assert docker_network.prefix_for(machines) == prefix


def test_lowest_subnet_that_overlaps_nothing_is_taken() -> None:
    pool = IPv4Network("10.89.0.0/22")
    taken = ["172.17.0.0/16", "10.89.0.0/24", "10.89.1.128/25", "fd00::/64"]
    assert [str(subnet) for subnet in docker_network.free_subnets(pool, 24, taken)] == ["10.89.2.0/24", "10.89.3.0/24"]
    assert list(docker_network.free_subnets(pool, 24, ["10.0.0.0/8"])) == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.89.1.250", "its network is taken"),
        ("10.90.0.250", "it is not of 10.89.0.0/22"),
        ("10.89.2.0", "the engine needs it"),
        ("10.89.2.1", "the engine needs it"),
        ("10.89.2.255", "the engine needs it"),
    ],
)
def test_virtual_ip_that_cannot_lie_in_a_subnet_of_its_own_is_refused_with_one_that_can(
    address: str, says: str
) -> None:
    pool = IPv4Network("10.89.0.0/22")
    free = docker_network.free_subnets(pool, 24, ["10.89.1.0/24"])
    with pytest.raises(UnusableVirtualIp, match=says) as refused:
        docker_network.subnet_around(IPv4Address(address), pool, free)
    assert "such as 10.89.3.250" in refused.value.reason


def test_virtual_ip_brings_its_subnet() -> None:
    pool = IPv4Network("10.89.0.0/22")
    found = docker_network.subnet_around(
        IPv4Address("10.89.2.250"), pool, docker_network.free_subnets(pool, 24, ["10.89.1.0/24"])
    )
    assert str(found) == "10.89.2.0/24"
    with pytest.raises(UnusableVirtualIp, match="used up"):
        docker_network.subnet_around(IPv4Address("10.89.2.250"), pool, [])


def test_only_own_old_networks_without_machines_are_unused() -> None:
    networks = [
        network("empty"),
        network("young", age_s=5),
        network("in-use"),
        network("foreign", installation="office"),
        {"Id": "net-bridge", "Created": "2026-05-01T08:00:00.5Z", "Labels": None},
    ]
    assert docker_network.unused(networks, "home", {"in-use"}, NOW) == ["net-empty"]


def test_configuration_picks_the_adapter_and_its_defaults_fit_a_laptop() -> None:
    config = TypeAdapter(CloudConfig).validate_python({"kind": "docker", "mounts": ["/srv/mirror:/srv/mirror:ro"]})
    unused = Database("sqlite+aiosqlite://", Table.metadata, MIGRATIONS)
    cloud = make_clouds({"laptop": config}, unused, SystemClock(), KeyRing({}, ""))["laptop"]
    assert isinstance(cloud, DockerCloud)
    assert not cloud.capabilities.simulated
    assert cloud.capabilities.connection is Connection.SSH
    assert (cloud.name, cloud.kind, cloud.capabilities.pull) == ("laptop", "docker", True)
    assert max(size.memory_mib for size in DockerConfig().machine_types.values()) <= 8192


@pytest.mark.parametrize("wrong", [{"url": "ssh://me@there"}, {"mounts": ["mirror:/mirror"]}, {"machines_limit": 0}])
def test_configuration_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DockerConfig.model_validate(wrong)


async def test_engine_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    cloud = DockerCloud("docker", DockerConfig(url=f"unix://{tmp_path}/no.sock"))
    with pytest.raises(CloudUnavailable):
        await cloud.machines("home")
    await cloud.close()
