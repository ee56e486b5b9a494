"""A service on three NATS servers goes on where any one of them is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.streams import FACTS
from tests.support.eventually import eventually
from tests.support.nats_cluster import SIZE, NatsCluster
from tests.support.service import Example, done, is_told, note


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """A running one."""
    cluster = NatsCluster(tmp_path)
    cluster.start()
    yield cluster
    cluster.stop()


async def test_messages_flow_while_each_server_in_turn_is_away(cluster: NatsCluster, tmp_path: Path) -> None:
    example = Example(tmp_path, cluster.url, nats_replicas=SIZE)
    example.service.hears(BootstrapDone, note)
    async with example.running():
        for number, server in enumerate(reversed(cluster.servers), 1):
            server.stop()
            await _goes_round(example, number)
            server.start()
            await eventually(lambda: _all_current(example.service.bus))


async def _goes_round(example: Example, number: int) -> None:
    await eventually(
        lambda: is_told(example.service.bus, done(number), f"event-{number}"), saying=f"event {number} was stored"
    )
    await eventually(lambda: _heard(example, number), saying=f"event {number} was heard")


async def _heard(example: Example, number: int) -> bool:
    return await example.numbers() == list(range(1, number + 1))


async def _all_current(bus: Bus) -> bool:
    info = await bus.js.stream_info(FACTS)
    return info.cluster is not None and sum(bool(peer.current) for peer in info.cluster.replicas or []) == SIZE - 1
