"""No acknowledged request is lost: clusters come, change and go while every process is killed and the broker's store is
wiped. What the api has said yes to comes true all the same, once."""

import asyncio
import random
import shutil
from dataclasses import dataclass, field

import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import NATS, SERVICES
from tests.promises.sizes import OPERATIONS_UNDER_FIRE
from tests.promises.trial import Trial
from tests.support.api import SMALL, Api

CUSTOMERS = 4
OPERATIONS_A_KILL = 2
OPERATIONS_A_WIPE = 50
FIRST_WIPE = 6
"""After so many operations: the short form has one too."""
MOST_CHANGES = 3
PATIENCE_S = 180.0


@dataclass
class Fire:
    """Kills something after every second operation, while that is worked on; now and then wipes the broker's store."""

    stack: Stack
    dice: random.Random
    acknowledged: int = 0
    kills: int = 0
    wipes: int = 0
    _orders: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)

    def acknowledge(self) -> None:
        """An operation was said yes to just now."""
        self.acknowledged += 1
        wipes = self.acknowledged % OPERATIONS_A_WIPE == FIRST_WIPE
        if wipes or self.acknowledged % OPERATIONS_A_KILL == 0:
            self._orders.put_nowait(wipes)

    async def run(self) -> None:
        """Carry out one order after the other, until cancelled."""
        while True:
            wipes = await self._orders.get()
            await asyncio.sleep(self.dice.uniform(0, 1))
            await asyncio.to_thread(self._wipe if wipes else self._kill)

    def _kill(self) -> None:
        part = self.dice.choice([NATS, *SERVICES])
        self.stack.kill(part)
        self.stack.restart(part, wait=part == NATS)
        self.kills += 1

    def _wipe(self) -> None:
        self.stack.kill(NATS)
        shutil.rmtree(self.stack.nats_store)
        self.stack.restart(NATS)
        self.wipes += 1


@pytest.mark.promises(OPERATIONS_UNDER_FIRE)
async def test_what_was_acknowledged_comes_true_while_everything_is_killed(trial: Trial, stack: Stack) -> None:
    fire = Fire(stack, trial.dice)
    async with Api(stack) as api:
        burning = asyncio.create_task(fire.run())
        try:
            await asyncio.gather(*(_customer(trial, api, fire, number) for number in range(CUSTOMERS)))
        finally:
            burning.cancel()
            await asyncio.gather(burning, return_exceptions=True)
    assert fire.kills >= fire.acknowledged // OPERATIONS_A_KILL - CUSTOMERS - fire.wipes
    trial.figures |= {"kills": fire.kills, "wipes of the broker": fire.wipes}


async def _customer(trial: Trial, api: Api, fire: Fire, number: int) -> None:
    """Has one cluster after the other."""
    dice, lives = random.Random(f"{trial.seed}:{number}"), 0
    while trial.goes_on:
        lives += 1
        trial.did(await _life(api, fire, dice, f"kept-{number}-{lives}"))


async def _life(api: Api, fire: Fire, dice: random.Random, name: str) -> int:
    """One cluster, changed now and then before it is as it was wanted. How many operations were acknowledged."""
    operations, workers = 2, 2
    cluster_id = str((await api.create(name, SMALL))["id"])
    fire.acknowledge()
    for _ in range(dice.randrange(MOST_CHANGES + 1)):
        if dice.random() < 0.5:
            await _is_as_wanted(api, cluster_id, 1 + workers)
        workers = dice.randint(1, 3)
        await api.insist("PATCH", f"/clusters/{cluster_id}/node-sets/workers", {"count": workers})
        fire.acknowledge()
        operations += 1
    if dice.random() < 0.7:
        await _is_as_wanted(api, cluster_id, 1 + workers)
    await api.insist("DELETE", f"/clusters/{cluster_id}")
    fire.acknowledge()
    await api.until_gone(cluster_id, within=PATIENCE_S)
    return operations


async def _is_as_wanted(api: Api, cluster_id: str, nodes: int) -> None:
    await api.until_ready(cluster_id, nodes=nodes, within=PATIENCE_S)
    await api.until_exactly(cluster_id, nodes, within=PATIENCE_S)
