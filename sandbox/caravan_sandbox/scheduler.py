"""Everything the sandbox does later, by due-time, from one heap.

A thousand booting machines are a thousand heap entries and one timer. What is due together runs together, and is
followed by one `after_batch` (the store's flush), so that a burst of joins costs one transaction.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from caravan_shared.plumbing.waiting import is_set_within

Action = Callable[[], None]

TICK_S = 0.01  # due-times are rounded up to this, so that neighbours share a batch


class Scheduler:
    """Runs actions at their due-time. `clock` gives epoch seconds, so that due-times can outlive the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.after_batch: Action = lambda: None
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()

    def at(self, due: float, action: Action) -> None:
        """Run `action` once `clock()` has reached `due`; at the next turn if it already has."""
        heapq.heappush(self._heap, (due, next(self._order), action))
        if self._heap[0][0] == due:
            self._earlier.set()

    def after(self, seconds: float, action: Action) -> None:
        """Run `action` in so many seconds."""
        self.at(self.clock() + seconds, action)

    async def sleep(self, seconds: float) -> None:
        """Wait on the same heap; 0 does not wait at all."""
        if seconds <= 0:
            return
        done = asyncio.get_running_loop().create_future()
        self.after(seconds, lambda: None if done.done() else done.set_result(None))
        await done

    def run_due(self) -> None:
        """Run everything that is due, then `after_batch` once if anything was."""
        ran = False
        while self._heap and self._heap[0][0] <= self.clock():
            heapq.heappop(self._heap)[2]()
            ran = True
        if ran:
            self.after_batch()

    async def run(self) -> None:
        """Run until cancelled. An action's exception ends it: a simulation that lost a step must not go on."""
        while True:
            self._earlier.clear()
            self.run_due()
            delay = max(TICK_S, self._heap[0][0] - self.clock()) if self._heap else None
            await is_set_within(self._earlier, delay)
