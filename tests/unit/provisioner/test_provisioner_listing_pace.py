"""How often a cloud is listed: seldom where listing costs it much, whatever was asked about new machines beside it."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from caravan_provisioner.clouds.base import Cloud, Machine
from caravan_provisioner.inventory import Inventory
from tests.support.clock import ManualClock

SLOW_S = 0.1


class SlowCloud:
    """Takes its time to list."""

    def __init__(self, listing_s: float) -> None:
        self._listing_s = listing_s

    async def machines(self, installation: str) -> Sequence[Machine]:
        """None."""
        await asyncio.sleep(self._listing_s)
        return []


class SlowlyAnswering(SlowCloud):
    """Takes its time to answer questions as well."""

    async def complete(self, machines: Sequence[Machine]) -> Sequence[Machine]:
        """Those that were given."""
        await asyncio.sleep(SLOW_S)
        return machines


async def test_slow_cloud_is_listed_less_often_where_nothing_changes() -> None:
    clock, cloud = ManualClock(), SlowCloud(SLOW_S)
    inventory = Inventory(cast("Cloud", cloud), clock)
    await inventory.listing("ours", clock.now())
    in_change = inventory.interval()
    clock.advance(1)
    await inventory.listing("ours", clock.now())
    assert in_change < inventory.interval()


@pytest.mark.parametrize(("cloud", "slows_down"), [(SlowCloud(SLOW_S), True), (SlowlyAnswering(0), False)])
async def test_slow_listings_become_seldom_and_slow_questions_do_not_matter(cloud: SlowCloud, slows_down: bool) -> None:
    clock = ManualClock()
    inventory = Inventory(cast("Cloud", cloud), clock)
    for _ in range(2):
        await inventory.listing("ours", clock.now())
        clock.advance(1)
    assert (inventory.interval().total_seconds() >= 9 * SLOW_S) is slows_down  # loops may wake a sleeper a little early
