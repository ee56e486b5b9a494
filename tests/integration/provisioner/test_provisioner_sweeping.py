"""The sweep on a real store and a real sandbox process."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from caravan_provisioner import store
from caravan_provisioner.clouds.sandbox import SandboxCloud
from caravan_provisioner.errors import UnknownCloud
from caravan_provisioner.settings import Settings
from caravan_provisioner.sweep import Sweeper, Verdict
from caravan_shared.contracts.requests import AskCloudCheck, AskSweepRelease, AskSweepReport
from tests.integration.provisioner.conftest import Sandbox
from tests.integration.provisioner.sweeping import Bench, sweeping
from tests.support.eventually import eventually


@pytest.fixture
async def bench(sandbox_cloud: SandboxCloud, settings: Settings) -> AsyncIterator[Bench]:
    async with sweeping(sandbox_cloud, settings) as bench:
        yield bench


async def test_leak_of_a_deleted_cluster_is_gone_after_two_sweeps_and_listed_meanwhile(bench: Bench) -> None:
    live, deleted = uuid4(), uuid4()
    await bench.know(live)
    await bench.know(deleted, deleted=True)
    await bench.make(live, 9)
    await bench.make(deleted, 1)
    assert await bench.sweep() == [Verdict.WAIT]
    assert await bench.left(deleted) == 1
    (sighting,) = (await bench.desk.sweep_report(AskSweepReport(cloud="sandbox"))).items
    assert (sighting.cluster_id, sighting.reason) == (deleted, "its cluster was deleted")
    assert sighting.verdict == Verdict.WAIT
    assert await bench.sweep() == [Verdict.DELETE]
    await bench.until_left(deleted, 0)
    assert await bench.left(live) == 9


async def test_replicas_sweep_as_one_and_go_on_when_the_one_who_did_is_gone(bench: Bench, sandbox: Sandbox) -> None:
    """A tenth of all machines may go in a round, however many replicas there are."""
    deleted = uuid4()
    await bench.know(deleted, deleted=True)
    await bench.make(deleted, 20)

    async def is_none_going() -> bool:
        return not any(machine["deleting"] for machine in await sandbox.machines(cluster=str(deleted)))

    async def kept_after_a_round_of(*replicas: Sweeper) -> int:
        bench.clock.at += timedelta(hours=1)
        for replica in replicas:
            await replica.sweep_all()
            await eventually(is_none_going)
        return await bench.left(deleted)

    dies, stays = bench.sweeper, bench.replica("other")
    assert [await kept_after_a_round_of(dies, stays) for _ in range(2)] == [20, 18]
    assert await kept_after_a_round_of(stays) == 17


async def test_sweep_of_a_restored_store_keeps_unknown_clusters_until_it_is_released(bench: Bench) -> None:
    live, unknown = uuid4(), uuid4()
    await bench.know(live)
    await bench.make(live, 3)
    await bench.make(unknown, 1)
    async with bench.db.transaction() as tx:
        await store.hold_sweep(tx, bench.clock.now())
    assert [await bench.sweep() for _ in range(3)] == [[Verdict.HELD]] * 3
    assert (await bench.desk.release_sweep(AskSweepRelease())).was_held
    assert not (await bench.desk.release_sweep(AskSweepRelease())).was_held
    assert await bench.sweep() == [Verdict.DELETE]


async def test_empty_store_and_foreign_installations_cost_no_machine(bench: Bench) -> None:
    unknown, foreign = uuid4(), f"theirs-{uuid4()}"
    await bench.make(unknown, 5)
    await bench.make(unknown, 5, installation=foreign)
    for _ in range(3):
        assert set(await bench.sweep()) == {Verdict.DOUBT}
    assert await bench.left(unknown) == 5
    theirs = await bench.cloud.machines(foreign)
    assert len(theirs) == 5
    await bench.cloud.delete([machine.id for machine in theirs])


async def test_cloud_that_only_has_offers_is_checked_by_them(bench: Bench) -> None:
    check = await bench.desk.check(AskCloudCheck(cloud="sandbox"))
    assert (check.kind, check.usable) == ("sandbox", True)
    assert [finding.about for finding in check.findings] == ["api", "machine types", "quota"]
    with pytest.raises(UnknownCloud, match="configured: sandbox"):
        await bench.desk.check(AskCloudCheck(cloud="nowhere"))
