"""The sandbox adapter passes the suite of all clouds, and tells what went wrong when something does."""

import pytest
from pydantic import SecretStr

from caravan_provisioner.clouds.base import Cloud, CloudRefused, CloudUnavailable, QuotaExceeded
from caravan_provisioner.clouds.sandbox import SandboxCloud, SandboxConfig
from tests.contracts.cloud_suite import CloudSuite
from tests.integration.provisioner.conftest import Sandbox
from tests.support.ports import free_port


class TestSandboxCloud(CloudSuite):
    """The suite, on a real sandbox process."""

    @pytest.fixture
    def cloud(self, sandbox_cloud: SandboxCloud) -> Cloud:
        """The adapter."""
        return sandbox_cloud

    async def test_lost_reply_is_reported_as_unavailable_though_machines_were_made(
        self, sandbox: Sandbox, sandbox_cloud: SandboxCloud, installation: str
    ) -> None:
        await sandbox.fault("create_lost_reply")
        batch = self.batch(installation, 1, 2)
        with pytest.raises(CloudUnavailable):
            await sandbox_cloud.create(batch)
        assert sorted(machine.name for machine in await sandbox_cloud.machines(installation)) == batch.names()

    async def test_trouble_is_never_answered_by_a_second_create(
        self, sandbox: Sandbox, sandbox_cloud: SandboxCloud, installation: str
    ) -> None:
        await sandbox.fault("create_error")
        with pytest.raises(CloudUnavailable):
            await sandbox_cloud.create(self.batch(installation, 1))
        assert sandbox_cloud.calls["POST /v1/machines"] == 1
        assert await sandbox_cloud.machines(installation) == []

    async def test_quota_error_says_what_is_needed_and_what_is_free(
        self, sandbox_cloud: SandboxCloud, installation: str
    ) -> None:
        async def fill() -> None:
            while True:
                await sandbox_cloud.create(self.batch(installation, *range(1, 101)))

        with pytest.raises(QuotaExceeded) as refused:
            await fill()
        assert (refused.value.resource, refused.value.need) == ("machines", 100)
        assert 0 <= refused.value.free < 100

    async def test_bad_token_is_refused_for_good(self, sandbox: Sandbox) -> None:
        cloud = SandboxCloud("sandbox", SandboxConfig(url=sandbox.url, token=SecretStr("wrong")))
        with pytest.raises(CloudRefused):
            await cloud.offers()
        await cloud.close()

    async def test_nobody_there_is_unavailable(self) -> None:
        cloud = SandboxCloud("sandbox", SandboxConfig(url=f"http://127.0.0.1:{free_port()}"))
        with pytest.raises(CloudUnavailable):
            await cloud.offers()
        await cloud.close()

    async def test_listing_costs_pages_not_machines(self, sandbox_cloud: SandboxCloud, installation: str) -> None:
        await sandbox_cloud.create(self.batch(installation, *range(1, 101)))
        sandbox_cloud.calls.clear()
        assert len(await sandbox_cloud.machines(installation)) == 100
        assert sandbox_cloud.calls == {"GET /v1/machines": 1}
