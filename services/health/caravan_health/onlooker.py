"""Look, for another replica, at clusters that miss there: does their kube-apiserver answer here?

No certificate is needed for that: what a kube-apiserver says of its readiness, it says to everyone, and its own
certificate proves which cluster it is. These looks have a lane and connections of their own and end in time, so that
they hold up none of this replica's own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from caravan_health.errors import CannotAsk
from caravan_health.monitor import Monitor
from caravan_health.observation import Kind, Observation
from caravan_health.probe import Prober, open_door
from caravan_health.settings import Settings
from caravan_health.target import Target
from caravan_shared.contracts.requests import AskSecondLooks, SecondLooks

Known = Callable[[list[UUID]], Awaitable[list[Target]]]

_FOR_THE_WAY_S = 0.3  # of the asker's patience, kept for the reply


class Onlooker:
    """Answers the questions of other replicas."""

    def __init__(self, known: Known, monitor: Monitor, settings: Settings) -> None:
        self._known, self._monitor, self._settings = known, monitor, settings
        self._lane = asyncio.Semaphore(settings.looks_at_once)
        self._opening = asyncio.Lock()

    async def answer(self, asked: AskSecondLooks) -> SecondLooks:
        """Look at the clusters asked for, as far as there is time."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + asked.timeout_s - _FOR_THE_WAY_S
        known = await self._known(list(asked.cluster_ids))
        if not known:
            return SecondLooks()
        async with Prober(timeout_s=self._settings.probe_timeout_s, nodes_timeout_s=0, reuse=False) as prober:
            looks = {asyncio.create_task(self._look(prober, target)): target.cluster_id for target in known}
            done, late = await asyncio.wait(looks, timeout=ends - loop.time())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return sorted_out({looks[task]: task.result() for task in done})

    async def _look(self, prober: Prober, target: Target) -> Observation:
        loop = asyncio.get_running_loop()
        async with self._lane:
            try:
                async with self._opening:  # one a turn of the event loop: each takes about 2 ms
                    door = open_door(target, None)
                    await asyncio.sleep(0)
            except (CannotAsk, OSError) as error:
                return Observation(Kind.MONITOR_UNFIT, str(error))
            started = loop.time()
            seen = await prober.ready(door)
        trouble = self._monitor.trouble(started, loop.time()) if seen.is_miss else ""
        return Observation(Kind.MONITOR_UNFIT, trouble) if trouble else seen


def sorted_out(seen: dict[UUID, Observation]) -> SecondLooks:
    """What these looks come to. Pure. Whatever a kube-apiserver answers, it is there; an unfit look says nothing."""
    usable = {cluster_id: look for cluster_id, look in seen.items() if look.kind is not Kind.MONITOR_UNFIT}
    return SecondLooks(
        answering=tuple(cluster_id for cluster_id, look in usable.items() if not look.is_miss),
        silent=tuple(cluster_id for cluster_id, look in usable.items() if look.is_miss),
    )
