"""What a running health service says and does, as seen from outside: its events and its metrics."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import nats
from nats.aio.msg import Msg
from prometheus_client.parser import text_string_to_metric_families

from caravan_cli.up import Stack
from caravan_shared.contracts.events import HealthChanged
from caravan_shared.contracts.states import Verdict

_LOOK_EVERY_S, _ASK_EVERY_S = 0.2, 1.0
_HEALTHY_WITHIN_S = 900.0
_FALSE = (Verdict.UNREACHABLE, Verdict.DEGRADED)


class Told:
    """Every verdict that was told since this began to listen."""

    def __init__(self) -> None:
        self._told: list[tuple[float, HealthChanged]] = []

    async def hear(self, message: Msg) -> None:
        """Note an event, and when it came."""
        self._told.append((time.monotonic(), HealthChanged.model_validate_json(message.data)))

    async def unreachable_after(self, since: float, ids: Collection[UUID], within_s: float) -> list[float]:
        """Seconds from `since` (monotonic) until each was first told Unreachable, in order; inf: it was not."""
        while (waiting := set(ids) - self._at(since).keys()) and time.monotonic() < since + within_s:
            await asyncio.sleep(_LOOK_EVERY_S)
        told = self._at(since)
        return sorted([told[each] - since for each in ids if each in told] + [float("inf")] * len(waiting))

    def of_the_well(self, since: float, lost: Collection[UUID] = ()) -> dict[str, int]:
        """What was told since then of clusters that were well all the while."""
        kinds = Counter(event.verdict for at, event in self._told if at >= since and event.cluster_id not in lost)
        return {"false_verdicts": sum(kinds[kind] for kind in _FALSE), "told_unknown": kinds[Verdict.UNKNOWN]}

    def _at(self, since: float) -> dict[UUID, float]:
        first: dict[UUID, float] = {}
        for at, event in self._told:
            if at >= since and event.verdict is Verdict.UNREACHABLE:
                first.setdefault(event.cluster_id, at)
        return first


@asynccontextmanager
async def listening(stack: Stack) -> AsyncIterator[Told]:
    """Listen as one of the services."""
    told, client = Told(), await nats.connect(stack.nats_url)
    await client.subscribe(HealthChanged.subject, cb=told.hear)
    await client.flush()
    try:
        yield told
    finally:
        await client.close()


async def looks(stack: Stack) -> int:
    """How many looks at clusters it has taken so far."""
    return int(sum((await _samples(stack, "caravan_health_looks_total", "kind")).values()))


async def until_all_healthy(stack: Stack, clusters: int) -> float:
    """Wait until it believes so of this many; seconds. TimeoutError where it never does."""
    began = time.monotonic()
    async with asyncio.timeout(_HEALTHY_WITHIN_S):
        while (await _samples(stack, "caravan_health_clusters", "verdict")).get(Verdict.HEALTHY, 0) < clusters:
            await asyncio.sleep(_ASK_EVERY_S)
    return time.monotonic() - began


async def _samples(stack: Stack, name: str, label: str) -> Mapping[str, float]:
    async with httpx.AsyncClient(timeout=60) as http:  # one in trouble takes its time
        text = (await http.get(f"http://127.0.0.1:{stack.layout.ports.health}/metrics")).text
    families = text_string_to_metric_families(text)
    return {sample.labels[label]: sample.value for each in families for sample in each.samples if sample.name == name}
