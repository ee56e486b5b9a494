"""How late this process's event loop runs. Late timers and late answers make healthy clusters look slow.

One long stall is trouble, and so are many short ones that take half of a look's time together. Less is not: a busy
process is always somewhat late, and must find outages all the same.
"""

import asyncio
from collections import deque

_TICK_S = 0.05  # short against the lag that matters; 20 wake-ups a second cost about 0.1 % of a core
_REMEMBERED = 256  # ticks; a look lasts seconds, so older ones matter to nobody


class LoopLag:
    """Ticks, and remembers how late each tick came."""

    def __init__(self, max_lag_s: float) -> None:
        self._max_lag_s = max_lag_s
        self._ticks: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        """When each was due, and when it came."""
        self._due = float("inf")

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self._ticks.append((self._due, loop.time()))

    def ran_late(self, started: float, now: float) -> bool:
        """Was there trouble from `started` to `now`: a tick more than `max_lag_s` late, or half of the time lost?"""
        overdue = max(now - self._due, 0.0)  # after a stall, whoever runs first may be a look that timed out
        late = [overdue, *(came - due for due, came in self._ticks if came >= started)]
        return max(late) > self._max_lag_s or sum(late) > max(self._max_lag_s, (now - started) / 2)
