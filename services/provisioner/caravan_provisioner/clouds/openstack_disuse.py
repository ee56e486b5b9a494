"""What serves nobody any more, and surely so: what was in use by a look before goes at once, the rest a while later."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

_CONFIRM = timedelta(seconds=60)  # how long something unused has to be seen so before it goes


class Disuse:
    """Remembers the use of things by their ids."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._unused_since: dict[str, datetime] = {}

    def sure(self, serves: Mapping[str, str], serving: Collection[str], now: datetime) -> list[str]:
        """Ids of `serves` whose value is not among `serving`, as far as they may go now."""
        unused = [thing for thing, served in serves.items() if served not in serving]
        self._used = (self._used | (serves.keys() - set(unused))) & serves.keys()
        self._unused_since = {thing: self._unused_since.get(thing, now) for thing in unused}
        return [thing for thing in unused if thing in self._used or now - self._unused_since[thing] >= _CONFIRM]
