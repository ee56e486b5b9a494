"""Keep creates bounded, each cloud for itself: so many in flight, so many a second."""

import asyncio
from types import TracebackType

from caravan_provisioner.metrics import CLOUD_WAIT_SECONDS


class Limiter:
    """`async with limiter:` around one call."""

    def __init__(self, cloud: str, *, concurrency: int, rate_per_s: float) -> None:
        self._cloud = cloud
        self._in_flight = asyncio.Semaphore(concurrency)
        self._gap_s = 1 / rate_per_s
        self._next_at = 0.0

    async def __aenter__(self) -> None:
        with CLOUD_WAIT_SECONDS.labels(self._cloud).time():
            await self._wait()

    async def _wait(self) -> None:
        await self._in_flight.acquire()
        try:
            now = asyncio.get_running_loop().time()
            at = max(now, self._next_at)
            self._next_at = at + self._gap_s
            await asyncio.sleep(at - now)
        except BaseException:
            self._in_flight.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_flight.release()
