"""How late this process's event loop runs. Late timers make healthy clusters look slow."""

import asyncio
from collections import deque

_TICK_S = 0.05  # short against the lag that matters; 20 wake-ups a second cost about 0.1 % of a core
_REMEMBERED = 256  # stalls; a look lasts seconds, so older ones matter to nobody


class LoopLag:
    """Ticks, and remembers when ticks came more than `max_lag_s` late."""

    def __init__(self, max_lag_s: float) -> None:
        self._max_lag_s = max_lag_s
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._due = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self._note(loop.time())

    def worst_since(self, started: float, now: float) -> float:
        """The longest stall, seconds, that reached into the time from `started` to `now`; 0 below `max_lag_s`."""
        self._note(now)
        return max((ended - due for due, ended in self._stalls if ended >= started), default=0.0)

    def _note(self, now: float) -> None:
        """The stall may be told to whoever runs first after it: a look that timed out, or the tick itself."""
        if self._due and now - self._due > self._max_lag_s:
            self._stalls.append((self._due, now))
