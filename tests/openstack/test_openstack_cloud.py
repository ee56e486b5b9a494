"""The OpenStack adapter passes the suite of all clouds, on a real one."""

import pytest

from caravan_provisioner.clouds.base import Cloud
from caravan_provisioner.clouds.openstack import OpenStackCloud
from tests.contracts.cloud_suite import CloudSuite

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(600)]


class TestOpenStackCloud(CloudSuite):
    """The suite."""

    patience_s = 300.0

    @pytest.fixture
    def cloud(self, openstack_cloud: OpenStackCloud) -> Cloud:
        """The adapter."""
        return openstack_cloud
