"""No machine is created twice, none leaks: a cloud that acts and does not answer, fails, and is busy now and then."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import aiohttp
import pytest

from caravan_provisioner.clouds.base import MachineBatch, Owner
from caravan_provisioner.clouds.sandbox import SandboxCloud
from caravan_shared.contracts.events import NodesRemoved
from caravan_shared.contracts.spec import Role
from tests.integration.provisioner.conftest import (
    Asker,
    Provisioner,
    Sandbox,
    around,
    provisioner,
    sandbox,
    sandbox_cloud,
    settings,
)
from tests.promises.sizes import REPLIES_LOST
from tests.promises.trial import Trial

__all__ = ["around", "provisioner", "sandbox", "sandbox_cloud", "settings"]  # fixtures of the provisioner's own tests

CLUSTERS_AT_ONCE = 4
MOST_WORKERS = 12
FOREIGN = 5
ALWAYS = 1_000_000
LONGEST_LIFE_S = 2.0
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.03
ENOUGH_ATTEMPTS = 10
"""Broken machines are replaced more often than we break some: no set is given up, which would wait for a person."""


class Seen:
    """Every machine that the cloud ever listed: its name, and the ids it was seen under."""

    def __init__(self, sandbox: Sandbox, installation: str) -> None:
        self._sandbox, self._installation = sandbox, installation
        self.ids: defaultdict[str, set[str]] = defaultdict(set)

    async def look(self) -> int:
        """Look once, again while the cloud is busy; how many machines there are."""
        while True:
            with suppress(aiohttp.ClientResponseError):
                machines = await self._sandbox.machines(installation=self._installation)
                break
        for machine in machines:
            self.ids[machine["name"]].add(machine["id"])
        return len(machines)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look again and again while the block runs."""

        async def look_on() -> None:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_EVERY_S)

        task = asyncio.create_task(look_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.promises(REPLIES_LOST)
async def test_creates_whose_replies_are_lost_make_each_machine_once_and_leave_none(
    trial: Trial, sandbox: Sandbox, sandbox_cloud: SandboxCloud, provisioner: Provisioner
) -> None:
    """Half of the clusters are deleted at any moment, the others once they are complete."""
    provisioner.settings = provisioner.settings.model_copy(update={"attempts": ENOUGH_ATTEMPTS})
    installation, theirs = str(provisioner.settings.installation), f"theirs-{uuid4()}"
    seen = Seen(sandbox, installation)
    foreign = await _foreign_machines(sandbox_cloud, theirs)
    await sandbox.fault("create_lost_reply", times=ALWAYS)
    try:
        async with provisioner.running() as service, seen.looking():
            while trial.goes_on:
                askers = [provisioner.asker(service) for _ in range(CLUSTERS_AT_ONCE)]
                await _more_trouble(trial, sandbox)
                before = len(seen.ids)
                async with asyncio.TaskGroup() as lives:
                    for asker in askers:
                        lives.create_task(_live(trial, asker))
                assert await seen.look() == 0, "a machine is left of clusters that are gone"
                trial.did(len(seen.ids) - before)
    finally:
        async with sandbox.http.delete("/v1/faults") as response:
            response.raise_for_status()
    twice = {name: ids for name, ids in seen.ids.items() if len(ids) > 1}
    assert not twice, "made twice"
    assert {machine.id for machine in await sandbox_cloud.machines(theirs)} == foreign, "somebody else's were touched"
    await sandbox_cloud.delete(sorted(foreign))


async def _live(trial: Trial, asker: Asker) -> None:
    """One cluster's life, from its request until nothing is left of it."""
    asker.patience_s = PATIENCE_S
    short, life_s = trial.dice.random() < 0.5, trial.dice.uniform(0, LONGEST_LIFE_S)
    await asker.want(workers=trial.dice.randint(1, MOST_WORKERS))
    if short:
        await asyncio.sleep(life_s)
    else:
        await asker.made()
    await asker.delete()
    await asker.until_told(NodesRemoved, lambda events: any(event.remaining == 0 for event in events))
    await asker.deleted()  # else the provisioner goes through all that ever were, again and again


async def _more_trouble(trial: Trial, sandbox: Sandbox) -> None:
    for kind in ("create_error", "api_503", "machine_error"):
        if times := trial.dice.randint(0, 2):
            await sandbox.fault(kind, times=times)


async def _foreign_machines(cloud: SandboxCloud, installation: str) -> set[str]:
    """Machines of another installation on the same cloud."""
    owner = Owner(installation, uuid4(), "workers", Role.WORKER, "k3x9")
    made = await cloud.create(MachineBatch("theirs-workers-k3x9", tuple(range(1, FOREIGN + 1)), "small", owner))
    return {machine.id for machine in made}
