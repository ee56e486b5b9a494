"""The sweep on a real OpenStack: what it lists, what it deletes, and what it leaves to others."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from caravan_provisioner.clouds.openstack import OpenStackCloud
from caravan_provisioner.settings import Settings
from caravan_provisioner.sweep import Verdict
from caravan_shared.contracts.requests import AskSweepReport
from tests.integration.provisioner.sweeping import Bench, sweeping
from tests.openstack.conftest import PATIENCE_S

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900)]


@pytest.fixture
async def bench(openstack_cloud: OpenStackCloud, installation: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with sweeping(openstack_cloud, Settings(state_dir=tmp_path, installation=installation)) as bench:
        yield bench


async def test_leaks_are_listed_before_they_go_one_by_one_and_what_others_own_stays(bench: Bench) -> None:
    live, deleted, others, installation = uuid4(), uuid4(), uuid4(), f"suite-{uuid4()}"
    await bench.know(live)
    await bench.know(deleted, deleted=True)
    await bench.make(live, 1)
    await bench.make(deleted, 2)
    await bench.make(others, 1, installation)

    assert await bench.sweep() == [Verdict.WAIT] * 2
    listed = (await bench.desk.sweep_report(AskSweepReport(cloud="openstack"))).items
    assert [sighting.cluster_id for sighting in listed] == [deleted] * 2
    assert await bench.left(deleted) == 2
    assert sorted(await bench.sweep()) == sorted([Verdict.DELETE, Verdict.NEXT_TIME])
    await bench.until_left(deleted, 1, PATIENCE_S)
    assert await bench.sweep() == [Verdict.DELETE]
    await bench.until_left(deleted, 0, PATIENCE_S)
    assert await bench.sweep() == []

    assert await bench.left(live) == 1
    foreign = await bench.cloud.machines(installation)
    assert len(foreign) == 1
    await bench.cloud.delete([machine.id for machine in foreign])
