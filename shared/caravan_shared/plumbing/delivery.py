"""What becomes of a delivered message: acknowledged, tried again later, or put aside as a dead letter.

    handler returned     → ack
    Retry                → redelivered after `.after` seconds
    GiveUp, bad payload  → dead letter at once: trying again cannot help
    any other error      → redelivered with back-off, dead letter after many tries

A dead letter is stored before the original is terminated, so a message is never in neither place.
"""

import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from faststream import BaseMiddleware
from faststream.nats.message import NatsMessage
from nats.aio.msg import Msg
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from caravan_shared.contracts.public import without_team
from caravan_shared.plumbing.envelope import EVENT_ID, MESSAGE_ID, event_id
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.streams import dead_subject

if TYPE_CHECKING:
    from faststream import StreamMessage

_MOST_DOUBLINGS = 20  # beyond any delay that makes sense; a float overflows at a thousand

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")

_DELIVERIES = Counter("caravan_deliveries_total", "Deliveries by what became of them.", ["subject", "result"])
_SECONDS = Histogram(
    "caravan_delivery_seconds",
    "Seconds that a delivered event's handler took.",
    ["subject"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

log = get_logger(__name__)


@dataclass(frozen=True)
class Patience:
    """How often, and how far apart, a delivery is tried again after an error that nobody meant to raise."""

    tries: int = 10
    """With doubling delays: about ten minutes until a defect of ours becomes a dead letter."""
    first_delay_s: float = 1.0
    longest_delay_s: float = 120.0

    def delay_s(self, tries: int) -> float:
        """Seconds to wait after the `tries`-th failure, with jitter."""
        doubled = self.first_delay_s * 2.0 ** min(tries - 1, _MOST_DOUBLINGS)
        return min(self.longest_delay_s, doubled) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter, no secret)


class Publisher(Protocol):
    """The part of the bus that is needed here."""

    service: str

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Store one message in its subject's stream."""


class Delivery:
    """A FastStream middleware that settles every JetStream message of a bus."""

    def __init__(self, bus: Publisher, patience: Patience) -> None:
        self._bus, self._patience = bus, patience

    def __call__(self, message: Any, /, *, context: Any) -> BaseMiddleware[Any, Any]:
        """One middleware a message, as FastStream wants it."""
        return _Settle(message, context=context, bus=self._bus, patience=self._patience)


class _Settle(BaseMiddleware[Any, Any]):
    def __init__(self, message: Any, /, *, context: Any, bus: Publisher, patience: Patience) -> None:
        super().__init__(message, context=context)
        self._bus, self._patience = bus, patience

    async def consume_scope(
        self, call_next: Callable[["StreamMessage[Any]"], Awaitable[Any]], msg: "StreamMessage[Any]"
    ) -> Any:
        """Call the handler, then ack, nack or bury."""
        if not isinstance(msg, NatsMessage) or not _from_jetstream(msg.raw_message):
            return await call_next(msg)
        try:
            with _SECONDS.labels(without_team(msg.raw_message.subject)).time():
                await call_next(msg)
        except Retry as error:
            await self._later(msg, error.after, error)
        except (GiveUp, ValidationError) as error:
            await self._bury(msg, error)
        except Exception as error:
            tries = msg.raw_message.metadata.num_delivered or 1
            if tries >= self._patience.tries:
                await self._bury(msg, error)
            else:
                log.exception("handler failed; will try again", subject=msg.raw_message.subject, tries=tries)
                await self._later(msg, self._patience.delay_s(tries), error)
        else:
            await msg.ack()
            _DELIVERIES.labels(without_team(msg.raw_message.subject), "handled").inc()
        return None

    async def _later(self, msg: NatsMessage, after_s: float, error: Exception) -> None:
        log.info("delivery put off", subject=msg.raw_message.subject, after_s=round(after_s, 2), reason=str(error))
        await msg.nack(delay=after_s)
        _DELIVERIES.labels(without_team(msg.raw_message.subject), "put_off").inc()

    async def _bury(self, msg: NatsMessage, error: Exception) -> None:
        raw = msg.raw_message
        metadata = raw.metadata
        headers = {
            **_portable(raw.headers or {}),
            EVENT_ID: event_id(raw),
            MESSAGE_ID: f"{self._bus.service}:{metadata.stream}:{metadata.sequence.stream}:{metadata.timestamp}",
            "caravan-dead-service": self._bus.service,
            "caravan-dead-reason": _one_line(error),
            "caravan-dead-subject": raw.subject,
            "caravan-dead-tries": str(metadata.num_delivered or 1),
        }
        try:
            await self._bus.publish(dead_subject(self._bus.service, raw.subject), raw.data, headers)
        except Retry as publish_error:
            await self._later(msg, publish_error.after, publish_error)
            return
        await msg.reject()
        _DELIVERIES.labels(without_team(raw.subject), "dead").inc()
        log.error("dead letter", subject=raw.subject, reason=_one_line(error))


def _from_jetstream(message: Msg) -> bool:
    return bool(message.reply) and message.reply.startswith("$JS.ACK")


def _portable(headers: dict[str, str]) -> dict[str, str]:
    """Those headers that another stream takes: no wish of the sender's to JetStream, no name that cannot be sent on."""
    return {
        name: value
        for name, value in headers.items()
        if _HEADER_NAME.fullmatch(name) and not name.lower().startswith("nats-")
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
