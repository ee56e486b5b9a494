"""Who is due when: a queue of keys by time, with one waiter. Times are the event loop's, monotonic seconds."""

import asyncio
import heapq
from uuid import UUID


class Agenda:
    """Each key has at most one appointment; a new one replaces the old."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, UUID]] = []
        self._at: dict[UUID, float] = {}
        self._earlier = asyncio.Event()

    def put(self, key: UUID, at: float) -> None:
        """Appoint `key` for `at`."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if self._heap[0] == (at, key):
            self._earlier.set()

    def hurry(self, key: UUID, at: float) -> None:
        """Bring an appointment forward to `at`; nothing if there is none (it is being kept right now)."""
        if self._at.get(key, at) > at:
            self.put(key, at)

    def drop(self, key: UUID) -> None:
        """Cancel the appointment of `key`."""
        self._at.pop(key, None)

    async def due(self) -> list[tuple[UUID, float]]:
        """Wait until at least one key is due, then hand out all that are, with the time each was due at."""
        while not (due := self._take_due()):
            self._earlier.clear()
            try:
                async with asyncio.timeout_at(self._heap[0][0] if self._heap else None):
                    await self._earlier.wait()
            except TimeoutError:
                continue
        return due

    def _take_due(self) -> list[tuple[UUID, float]]:
        now = asyncio.get_running_loop().time()
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                due.append((key, at))
        return due
