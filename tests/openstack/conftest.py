"""A real OpenStack: whichever OS_CLOUD names in clouds.yaml, the lab's or any other, with room for a dozen servers.

CARAVAN_TEST_OPENSTACK, JSON, says what machines are made of there, as in CARAVAN_PROVISIONER_CLOUDS; the default fits
the lab. Fake hypervisors have no consoles: the proxy in front of the cloud stands in for those alone.
"""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.clouds.openstack_config import OpenStackConfig

LAB: dict[str, Any] = {"image": "dummy", "networks": ["private"], "machine_types": {"small": "m1.nano"}}


@pytest.fixture(scope="session")
def openstack_config() -> OpenStackConfig:
    """The cloud under test, in batches that fit into a small project."""
    if not os.environ.get("OS_CLOUD"):
        pytest.skip("OPENSTACK IS NOT TESTED HERE: set OS_CLOUD (and OS_CLIENT_CONFIG_FILE) to a cloud of clouds.yaml")
    wanted = {**LAB, **json.loads(os.environ.get("CARAVAN_TEST_OPENSTACK", "{}"))}
    return OpenStackConfig(cloud=os.environ["OS_CLOUD"], max_batch=5, **wanted)


@pytest.fixture
async def openstack_cloud(openstack_config: OpenStackConfig) -> AsyncIterator[OpenStackCloud]:
    """The adapter, connected to the cloud itself."""
    cloud = OpenStackCloud("openstack", openstack_config)
    yield cloud
    await cloud.close()
