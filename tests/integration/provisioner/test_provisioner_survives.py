"""Killed at any moment, the provisioner makes no second machine and leaves none behind."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caravan_provisioner.settings import Settings
from caravan_shared.contracts.events import NodesReady, NodesRemoved
from tests.integration.provisioner.conftest import Around, Asker, Provisioner, Sandbox
from tests.support.eventually import eventually
from tests.support.process import start

MANY = 60


@contextmanager
def process(settings: Settings) -> Iterator[None]:
    """The provisioner as a process of its own, killed at the end."""
    told = {
        "state_dir",
        "nats_url",
        "sandbox_url",
        "http_port",
        "installation",
        "settle_s",
        "resync_every_s",
        "lease_s",
    }
    running = start("provisioner", settings.state_dir / "provisioner.log", settings.model_dump(include=told))
    try:
        yield
    finally:
        running.kill()


async def names_of(sandbox: Sandbox, asker: Asker) -> list[str]:
    return [machine["name"] for machine in await sandbox.machines(cluster=str(asker.cluster_id))]


@pytest.mark.long
async def test_kill_9_while_machines_are_made_and_while_they_go(
    sandbox: Sandbox, around: Around, provisioner: Provisioner
) -> None:
    settings = provisioner.settings
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
    await sandbox.fault("create_lost_reply")
    await asker.want(workers=MANY)
    with process(settings):
        await eventually(lambda: _has(sandbox, asker, 1), every=0.01)
    async with provisioner.running() as service:
        asker.service = service
        await asker.until_told(NodesReady, lambda events: any(event.complete for event in events))
        machines = await names_of(sandbox, asker)
        assert len(machines) == len(set(machines)) == MANY + 1
    await asker.delete()
    with process(settings):
        await eventually(lambda: _has_fewer(sandbox, asker, MANY + 1), every=0.01)
    async with provisioner.running() as service:
        asker.service = service
        await asker.until_told(NodesRemoved, lambda events: any(event.remaining == 0 for event in events))
    assert await names_of(sandbox, asker) == []


async def test_store_survives_a_stop_in_the_middle(sandbox: Sandbox, provisioner: Provisioner) -> None:
    async with provisioner.running() as service:
        asker = provisioner.asker(service)
        await asker.want(workers=5)
        await eventually(lambda: _has(sandbox, asker, 1), every=0.002)
    async with provisioner.running() as service:
        asker.service = service
        await asker.until_told(NodesReady, lambda events: any(event.complete for event in events))
    machines = await names_of(sandbox, asker)
    assert len(machines) == len(set(machines)) == 6


async def _has(sandbox: Sandbox, asker: Asker, count: int) -> bool:
    return len(await names_of(sandbox, asker)) >= count


async def _has_fewer(sandbox: Sandbox, asker: Asker, count: int) -> bool:
    return len(await names_of(sandbox, asker)) < count
