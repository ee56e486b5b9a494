"""What happens elsewhere that open pages want to hear of and nobody has to remember: dead letters, work on machines.

Every replica hears it all, over plain subscriptions beside the durable consumers: what one misses, its pages see when
they look anew, once a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from time import monotonic

from nats.aio.msg import Msg

from caravan_shared.contracts.events import MachinesChanged, MachinesHandedOver
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.streams import DEAD_LETTERS

DEAD_LETTER, MACHINE = "dead letter", "machine"
"""Kinds, named as the audit names them."""

_SUBJECTS: Mapping[str, str] = {
    DEAD_LETTERS: DEAD_LETTER,
    MachinesChanged.subject: MACHINE,
    MachinesHandedOver.subject: MACHINE,
}


class Murmurs:
    """Knows when each kind was last heard of; `wake` is called with each."""

    def __init__(self, bus: Bus, wake: Callable[[], None]) -> None:
        self._bus, self._wake = bus, wake
        self._heard_at: dict[str, float] = {}

    def since(self, moment: float) -> Set[str]:
        """The kinds that were heard of at that moment (of `time.monotonic`) or later."""
        return {kind for kind, at in self._heard_at.items() if at >= moment}

    async def run(self) -> None:
        """Listen until cancelled; after a break nats-py subscribes again by itself."""
        for subject, kind in _SUBJECTS.items():
            await self._bus.client.subscribe(subject, cb=self._hears(kind))
        await asyncio.Event().wait()

    def _hears(self, kind: str) -> Callable[[Msg], Awaitable[None]]:
        async def hear(_message: Msg) -> None:
            self._heard_at[kind] = monotonic()
            self._wake()

        return hear
