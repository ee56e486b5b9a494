"""No acknowledged request is lost: clusters come, change and go while every process is killed and the broker's store is
wiped. What the api has said yes to comes true all the same, once."""

import asyncio
import random
import shutil
from dataclasses import dataclass, field

import pytest

from caravan_cli.up import Stack
from caravan_cli.up.parts import NATS, SERVICES
from tests.promises.customers import CUSTOMERS, customers
from tests.promises.sizes import OPERATIONS_UNDER_FIRE
from tests.promises.trial import Trial
from tests.support.api import Api

OPERATIONS_A_KILL = 2
OPERATIONS_A_WIPE = 50
FIRST_WIPE = 6
"""After so many operations: the short form has one too."""


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
            await customers(trial, api, fire.acknowledge)
        finally:
            burning.cancel()
            await asyncio.gather(burning, return_exceptions=True)
    assert fire.kills >= fire.acknowledged // OPERATIONS_A_KILL - CUSTOMERS - fire.wipes
    trial.figures |= {"kills": fire.kills, "wipes of the broker": fire.wipes}
