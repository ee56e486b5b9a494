"""Notice a subscriber that sleeps while messages wait for it: the connection may look well and deliver nothing."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import nats.errors
from nats.js.errors import NotFoundError
from prometheus_client import Gauge

from caravan_shared.contracts.public import without_team
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock

_LOOK_EVERY_S = 10.0

_WAITING = Gauge("caravan_events_waiting", "Events that wait to be handled, or to be tried again.", ["subject"])
_STUCK = Gauge("caravan_subscriptions_stuck", "Subscriptions whose backlog does not move.")


@dataclass(frozen=True)
class Mark:
    """How far a consumer was when it last moved."""

    delivered: int
    since: float


class Backlog:
    """Watches the bus's consumers; `stuck()` names those whose backlog stood still for too long."""

    def __init__(self, bus: Bus, clock: Clock, stuck_after_s: float) -> None:
        self._bus, self._clock, self._stuck_after_s = bus, clock, stuck_after_s
        self._marks: dict[str, Mark] = {}
        self._stuck: list[str] = []

    def stuck(self) -> list[str]:
        """Durable names of consumers with a backlog that does not move."""
        return self._stuck

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Compare each consumer with where it was; an unreachable server is not a stuck backlog."""
        stuck = []
        waiting: Counter[str] = Counter()
        for subscription in self._bus.subscriptions:
            try:
                info = await self._bus.js.consumer_info(subscription.stream, subscription.durable)
            except NotFoundError:
                self._bus.settle_soon()  # somebody deleted it: without it the service would hear nothing
                continue
            except (nats.errors.Error, TimeoutError):
                self._marks.pop(subscription.durable, None)
                continue
            # Deliveries, not acknowledgements: one message that was put off holds up nothing behind it.
            delivered = info.delivered.consumer_seq if info.delivered else 0
            waits = bool(info.num_pending)
            waiting[without_team(subscription.subject)] += (info.num_pending or 0) + (info.num_ack_pending or 0)
            if self._stands_still(subscription.durable, delivered, waits=waits):
                stuck.append(subscription.durable)
        self._stuck = stuck
        for subject, messages in waiting.items():
            _WAITING.labels(subject).set(messages)
        _STUCK.set(len(stuck))

    def _stands_still(self, durable: str, delivered: int, *, waits: bool) -> bool:
        now = self._clock.now().timestamp()
        mark = self._marks.get(durable)
        if mark is None or mark.delivered != delivered or not waits:
            self._marks[durable] = Mark(delivered, now)
            return False
        return now - mark.since > self._stuck_after_s
