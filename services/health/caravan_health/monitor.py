"""Is the monitor itself fit to judge? A monitor in trouble says Unknown, never Unreachable.

Four signs of trouble: the event loop runs late (`lag`), our own canary on loopback misses (`canary`), file descriptors
or routes run out (seen by the looks themselves, see `classify`), and a large share of the fleet falls silent together
(`fleet`). Trouble is told once when it starts and once when it is over, as a log line and a metric.
"""

import asyncio
import resource
from uuid import UUID

from caravan_health import metrics
from caravan_health.canary import Canary
from caravan_health.fleet import Fleet
from caravan_health.lag import LoopLag
from caravan_health.observation import Kind, Observation
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_CHECK_EVERY_S = 1.0
_CALM_FOR_S = 10.0  # trouble that comes and goes is told as one
_FILES_WANTED = 65_536  # each cluster keeps a connection or two open


class Monitor:
    """Watches the watcher."""

    def __init__(self, lag: LoopLag, canary: Canary, fleet: Fleet) -> None:
        self._lag, self._canary, self.fleet = lag, canary, fleet
        self._noticed = ("", float("-inf"))
        self._told = ""
        self._troubled_at = float("-inf")

    async def run(self) -> None:
        """Keep checking until cancelled."""
        raise_file_limit()
        metrics.MONITOR_FIT.set(1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lag.run())
            tasks.create_task(self._canary.run())
            tasks.create_task(self._tell())

    def weigh(self, cluster_id: UUID, seen: Observation, alone: bool, started: float, now: float) -> Observation:
        """The look as it may be used: a miss while the monitor was in trouble is void. An answer is an answer.

        `alone`: do not compare with the fleet: nobody was asked since (a first miss), or it is known to be gone.
        """
        if seen.kind is not Kind.MONITOR_UNFIT and not seen.is_miss:
            return seen
        trouble = seen.detail if seen.kind is Kind.MONITOR_UNFIT else self.trouble(started, now)
        trouble = trouble or ("" if alone else self.fleet.doubt(cluster_id, now))
        if not trouble:
            return seen
        self._noticed = (trouble, now)
        return Observation(Kind.MONITOR_UNFIT, trouble)

    def trouble(self, started: float, now: float) -> str:
        """Why nothing between `started` and `now` (the loop's time) may count as a miss; empty if all is well here."""
        return "its event loop ran late" if self._lag.ran_late(started, now) else self._canary.trouble(now)

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            now = loop.time()
            noticed, at = self._noticed
            self._tell_change(
                self.trouble(now - _CHECK_EVERY_S, now) or (noticed if at > now - _CALM_FOR_S else ""), now
            )

    def _tell_change(self, trouble: str, now: float) -> None:
        if trouble:
            self._troubled_at = now
            if not self._told:
                log.error("monitor not fit to judge: misses count for nothing until it is", why=trouble)
                metrics.MONITOR_FIT.set(0)
            self._told = trouble
        elif self._told and now - self._troubled_at >= _CALM_FOR_S:
            log.info("monitor fit again", was=self._told)
            metrics.MONITOR_FIT.set(1)
            self._told = ""


def raise_file_limit() -> None:
    """Allow this process as many open files as it may have: shells often start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
