"""When a crashed process is started again: soon the first time, later each time that it crashes again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
CALM_AFTER_S = 60.0  # a process that ran this long starts over with short pauses


@dataclass
class _Crash:
    pause_s: float
    start_at: float


class Restarts:
    """Remembers crashes by part."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._waiting: dict[str, _Crash] = {}
        self._past: dict[str, _Crash] = {}

    def is_due(self, part: str, exit_code: int | None, log: Path) -> bool:
        """Whether the part shall be started now. `exit_code` is None while it runs."""
        if exit_code is None:
            return False
        now = self._clock()
        crash = self._waiting.get(part)
        if crash is None:
            crash = self._waiting[part] = self._crashed(part, now)
            self._say(f"{part} ended with code {exit_code}; it starts again in {crash.pause_s:g} s. Its log: {log}")
        if now < crash.start_at:
            return False
        self._past[part] = self._waiting.pop(part)
        return True

    def _crashed(self, part: str, now: float) -> _Crash:
        past = self._past.get(part)
        ran_long = past is None or now - past.start_at > CALM_AFTER_S
        pause_s = FIRST_PAUSE_S if past is None or ran_long else min(past.pause_s * 2, LONGEST_PAUSE_S)
        return _Crash(pause_s, now + pause_s)
