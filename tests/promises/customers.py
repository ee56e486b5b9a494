"""Customers of a stack: each has one cluster after the other, changes it, and insists on what it was promised."""

import asyncio
import random
from collections.abc import Callable

from tests.promises.trial import Trial
from tests.support.api import SMALL, Api

CUSTOMERS = 4
MOST_CHANGES = 3
PATIENCE_S = 180.0

Acknowledge = Callable[[], None]


async def customers(trial: Trial, api: Api, acknowledge: Acknowledge = lambda: None) -> None:
    """All at once, while the trial goes on; `acknowledge` is called after each operation that was said yes to."""
    await asyncio.gather(*(_customer(trial, api, acknowledge, number) for number in range(CUSTOMERS)))


async def _customer(trial: Trial, api: Api, acknowledge: Acknowledge, number: int) -> None:
    dice, lives = random.Random(f"{trial.seed}:{number}"), 0
    while trial.goes_on:
        lives += 1
        trial.did(await _life(api, acknowledge, dice, f"kept-{number}-{lives}"))


async def _life(api: Api, acknowledge: Acknowledge, dice: random.Random, name: str) -> int:
    """One cluster, changed now and then before it is as it was wanted. How many operations were acknowledged."""
    operations, workers = 2, 2
    cluster_id = str((await api.create(name, SMALL))["id"])
    acknowledge()
    for _ in range(dice.randrange(MOST_CHANGES + 1)):
        if dice.random() < 0.5:
            await _is_as_wanted(api, cluster_id, 1 + workers)
        workers = dice.randint(1, 3)
        await api.insist("PATCH", f"/clusters/{cluster_id}/node-sets/workers", {"count": workers})
        acknowledge()
        operations += 1
    if dice.random() < 0.7:
        await _is_as_wanted(api, cluster_id, 1 + workers)
    await api.insist("DELETE", f"/clusters/{cluster_id}")
    acknowledge()
    await api.until_gone(cluster_id, within=PATIENCE_S)
    return operations


async def _is_as_wanted(api: Api, cluster_id: str, nodes: int) -> None:
    await api.until_ready(cluster_id, nodes=nodes, within=PATIENCE_S)
    await api.until_exactly(cluster_id, nodes, within=PATIENCE_S)
