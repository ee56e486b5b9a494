"""None leaks, and nobody else's is touched: the sweep on stores that know everything, too little, or nothing."""

from uuid import uuid4

import pytest

from caravan_provisioner.clouds.sandbox import SandboxCloud
from caravan_provisioner.settings import Settings
from tests.integration.provisioner.conftest import Sandbox, sandbox, sandbox_cloud
from tests.integration.provisioner.sweeping import Bench, sweeping
from tests.promises.sizes import SWEEPS_IN_DOUBT
from tests.promises.trial import Trial
from tests.support.eventually import eventually

__all__ = ["sandbox", "sandbox_cloud"]  # fixtures of the provisioner's own tests

SWEEPS = 2


@pytest.mark.promises(SWEEPS_IN_DOUBT)
async def test_two_sweeps_end_leaks_and_touch_no_other_machine_whatever_the_store_knows(
    trial: Trial, tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, sandbox_cloud: SandboxCloud
) -> None:
    while trial.goes_on:
        folder = tmp_path_factory.mktemp("sweeps")
        settings = Settings(state_dir=folder, sandbox_url=sandbox.url, installation=f"test-{uuid4()}")
        async with sweeping(sandbox_cloud, settings) as bench:
            foreign = f"theirs-{uuid4()}"
            await bench.make(uuid4(), trial.dice.randint(1, 5), installation=foreign)
            theirs = {machine.id for machine in await sandbox_cloud.machines(foreign)}
            if trial.dice.random() < 0.5:
                await _store_that_knows_nothing(trial, bench)
            else:
                await _store_that_knows_all(trial, bench)
            assert {machine.id for machine in await sandbox_cloud.machines(foreign)} == theirs, "not ours to delete"
            await sandbox_cloud.delete(sorted(theirs))
        trial.did()


async def _store_that_knows_nothing(trial: Trial, bench: Bench) -> None:
    """An empty store, or an old copy, which knows a few clusters and none of those that are there now."""
    for _ in range(trial.dice.randint(0, 2)):
        await bench.know(uuid4())
    alive = {uuid4(): trial.dice.randint(1, 5) for _ in range(3)}
    for cluster_id, count in alive.items():
        await bench.make(cluster_id, count)
    for _ in range(SWEEPS):
        await bench.sweep()
    assert {cluster_id: await bench.left(cluster_id) for cluster_id in alive} == alive, "a live cluster lost a machine"


async def _store_that_knows_all(trial: Trial, bench: Bench) -> None:
    live, deleted, count = uuid4(), uuid4(), trial.dice.randint(9, 30)
    await bench.know(live)
    await bench.know(deleted, deleted=True)
    await bench.make(live, count)
    await bench.make(deleted, 1)
    for _ in range(SWEEPS):
        await bench.sweep()

    async def gone() -> bool:
        return await bench.left(deleted) == 0

    await eventually(gone, saying="the leak is gone after two sweeps")
    assert await bench.left(live) == count
