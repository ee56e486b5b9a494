"""No acknowledged request is lost: clusters come, change and go while the ways from the services to the broker and to
the cloud are cut without a word, or slow. What the api has said yes to comes true all the same, once."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from caravan_cli.up import Ports, Stack
from tests.promises.customers import customers
from tests.promises.sizes import OPERATIONS_CUT_OFF
from tests.promises.trial import Trial
from tests.support.api import FAST_SANDBOX, Api
from tests.support.network import HOST, Link, network

LONGEST_PEACE_S = 4.0
LONGEST_TROUBLE_S = 12.0
LONG_CUT_S = 45.0
"""So long that who waits for an answer gives the connection up by itself."""
ONE_LONG_IN = 10
LONGEST_DELAY_S = 0.5


class StackOverLinks(Stack):
    """Its services reach the broker and the cloud by these links."""

    def __init__(self, state_dir: Path, ports: Ports, to_broker: Link, to_cloud: Link) -> None:
        super().__init__(state_dir, ports=ports, env=FAST_SANDBOX)
        self._to_broker, self._to_cloud = to_broker, to_cloud

    @property
    def env(self) -> dict[str, str]:
        """What every process of it has in its environment."""
        user = urlsplit(self.nats_url).netloc.rpartition("@")[0]
        return {
            **super().env,
            "CARAVAN_NATS_URL": f"nats://{user}@{HOST}:{self._to_broker.port}",
            "CARAVAN_SANDBOX_URL": f"http://{HOST}:{self._to_cloud.port}",
        }


@dataclass
class BadNetwork:
    """Cuts a link or slows it down, again and again, one at a time."""

    links: Mapping[str, Link]
    dice: random.Random
    cuts: int = 0
    long_cuts: int = 0
    delays: int = 0

    async def run(self) -> None:
        """Make trouble until cancelled, a cut before all else; in the end all links are whole."""
        while True:
            link = self.links[self.dice.choice(sorted(self.links))]
            try:
                await self._trouble(link)
            finally:
                await link.mend()
            await asyncio.sleep(self.dice.uniform(0, LONGEST_PEACE_S))

    async def _trouble(self, link: Link) -> None:
        for_s = self.dice.uniform(0, LONGEST_TROUBLE_S)
        if self.cuts and self.dice.random() < 0.3:
            self.delays += 1
            await link.slow_down(self.dice.uniform(0, LONGEST_DELAY_S))
        else:
            self.cuts += 1
            await link.cut()
            if self.cuts % ONE_LONG_IN == 0:
                self.long_cuts += 1
                for_s = LONG_CUT_S
        await asyncio.sleep(for_s)


@pytest.fixture
async def bad_network(tmp_path: Path, trial: Trial) -> AsyncIterator[tuple[Stack, BadNetwork]]:
    """A running stack, and what troubles it."""
    ports = Ports.free()
    async with network(tmp_path / "toxiproxy.log") as running:
        to_broker, to_cloud = await running.link(ports.nats), await running.link(ports.sandbox)
        stack = StackOverLinks(tmp_path / "stack", ports, to_broker, to_cloud)
        await asyncio.to_thread(stack.start)
        try:
            yield stack, BadNetwork({"broker": to_broker, "cloud": to_cloud}, trial.dice)
        finally:
            await asyncio.to_thread(stack.stop)


@pytest.mark.promises(OPERATIONS_CUT_OFF)
async def test_what_was_acknowledged_comes_true_while_networks_are_cut(
    trial: Trial, bad_network: tuple[Stack, BadNetwork]
) -> None:
    stack, bad = bad_network
    async with Api(stack) as api:
        making_trouble = asyncio.create_task(bad.run())
        try:
            await customers(trial, api)
        finally:
            making_trouble.cancel()
            await asyncio.gather(making_trouble, return_exceptions=True)
    assert bad.cuts > 0
    trial.figures |= {"cuts": bad.cuts, "of them long": bad.long_cuts, "delays": bad.delays}
