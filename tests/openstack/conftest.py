"""A real OpenStack: whichever OS_CLOUD names in clouds.yaml, the lab's or any other, with room for a dozen servers.

CARAVAN_TEST_OPENSTACK, JSON, says what machines are made of there, as in CARAVAN_PROVISIONER_CLOUDS; the default fits
the lab. CARAVAN_TEST_OPENSTACK_ADMIN names an administrator of the same project, who sets quotas. Fake hypervisors have
no consoles: the proxy in front of the cloud stands in for those.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_api import Api, NotFound, ServiceName
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from tests.support.eventually import eventually
from tests.support.openstack_proxy import Proxy, proxying

LAB: dict[str, Any] = {
    "image": "dummy",
    "networks": ["private"],
    "floating_network": "public",
    "machine_types": {"small": "m1.nano"},
}
KINDS: dict[str, tuple[ServiceName, str]] = {
    "servers": ("compute", "/servers/detail"),
    "server groups": ("compute", "/os-server-groups"),
    "ports": ("network", "/ports"),
    "floating IPs": ("network", "/floatingips"),
    "load balancers": ("load-balancer", "/lbaas/loadbalancers"),
    "volumes": ("block-storage", "/volumes"),
}
"""Of what a project has: where each is listed."""
NO_OCTAVIA = "LOAD BALANCERS ARE NOT TESTED HERE: the cloud has no Octavia"
NO_CINDER = "BOOT VOLUMES ARE NOT TESTED HERE: the cloud has no Cinder"
PATIENCE_S = 300.0  # a lab on a busy machine makes a server in some seconds


@pytest.fixture(scope="session")
def openstack_config() -> OpenStackConfig:
    """The cloud under test, in batches that fit into a small project, without floating IPs."""
    if not os.environ.get("OS_CLOUD"):
        pytest.skip("OPENSTACK IS NOT TESTED HERE: set OS_CLOUD (and OS_CLIENT_CONFIG_FILE) to a cloud of clouds.yaml")
    wanted = {**LAB, **json.loads(os.environ.get("CARAVAN_TEST_OPENSTACK", "{}"))}
    config = OpenStackConfig(cloud=os.environ["OS_CLOUD"], max_batch=5, **wanted)
    return config.model_copy(update={"floating_network": None})


@pytest.fixture(scope="session")
def floating_network(openstack_config: OpenStackConfig) -> str:
    """The external network that floating IPs come from."""
    return str({**LAB, **json.loads(os.environ.get("CARAVAN_TEST_OPENSTACK", "{}"))}["floating_network"])


@pytest.fixture
async def openstack_cloud(openstack_config: OpenStackConfig) -> AsyncIterator[OpenStackCloud]:
    """The adapter, connected to the cloud itself."""
    cloud = OpenStackCloud("openstack", openstack_config)
    yield cloud
    await cloud.close()


async def ensure_offered(config: OpenStackConfig, service: str, reason: str) -> None:
    """Skip for that reason where the cloud has no such service."""
    if not await _offered(config, service):
        pytest.skip(reason)


async def _offered(config: OpenStackConfig, *services: str) -> set[str]:
    """Which of the services the cloud has."""
    api = Api("plain", config)
    offered = {service for service in services if await api.endpoint(service)}
    await api.close()
    return offered


@asynccontextmanager
async def behind(proxy: Proxy, config: OpenStackConfig) -> AsyncIterator[OpenStackCloud]:
    """The adapter, behind the proxy."""
    cloud = OpenStackCloud("openstack", config.model_copy(update={"clouds_file": proxy.clouds_file}))
    yield cloud
    await cloud.close()


@pytest.fixture
async def proxy(openstack_config: OpenStackConfig, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A proxy in front of the cloud."""
    assert openstack_config.cloud
    async with proxying(openstack_config.cloud, tmp_path) as proxy:
        yield proxy


@dataclass
class Project:
    """All that the project has, ours and others', asked for past the adapter."""

    api: Api

    async def counts(self) -> dict[str, int]:
        """How many of each kind that the cloud has."""
        kinds = {kind: where for kind, where in KINDS.items() if await self.api.endpoint(where[0])}
        return {kind: len(await self.api.pages(service, path)) for kind, (service, path) in kinds.items()}

    async def until_gone(self, server: str) -> None:
        """Wait until there is no such server."""

        async def is_gone() -> bool:
            try:
                await self.api.get("compute", f"/servers/{server}")
            except NotFound:
                return True
            return False

        await eventually(is_gone, within=PATIENCE_S, saying=f"{server} is gone")

    async def until(self, counts: dict[str, int]) -> None:
        """Wait until there is just so much."""

        async def is_so() -> bool:
            return await self.counts() == counts

        await eventually(is_so, within=PATIENCE_S, saying=f"the project has {counts}")


@pytest.fixture
async def project(openstack_config: OpenStackConfig) -> AsyncIterator[Project]:
    """The project under test, with every service that the cloud has."""
    has = await _offered(openstack_config, "load-balancer", "block-storage")
    every = {"load_balancer": "load-balancer" in has, "boot_volume_gib": 1 if "block-storage" in has else None}
    api = Api("project", openstack_config.model_copy(update=every))
    yield Project(api)
    await api.close()


@dataclass
class Administrator:
    """Who sets the project's quotas and makes flavors and volume types."""

    api: Api
    project: str

    async def grant(self, service: ServiceName = "compute", **quota: int) -> None:
        """Set the project's quota of some resources."""
        await self.api.put(service, f"/os-quota-sets/{self.project}", {"quota_set": quota})


def admin_cloud() -> str:
    """Of clouds.yaml: an administrator of the project under test."""
    cloud = os.environ.get("CARAVAN_TEST_OPENSTACK_ADMIN")
    if not cloud:
        pytest.skip("WHAT ADMINISTRATORS DO IS NOT TESTED HERE: set CARAVAN_TEST_OPENSTACK_ADMIN to a cloud of one")
    return cloud


@asynccontextmanager
async def administering(config: OpenStackConfig) -> AsyncIterator[Administrator]:
    """An administrator of the project under test."""
    api = Api("admin", config.model_copy(update={"cloud": admin_cloud()}))
    project = await api._in_thread(lambda: api._connected()["compute"].get_project_id())
    yield Administrator(api, str(project))
    await api.close()


@pytest.fixture
def installation() -> str:
    """An installation of the test's own."""
    return f"suite-{uuid4()}"
