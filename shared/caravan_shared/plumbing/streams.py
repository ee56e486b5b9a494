"""The streams and consumers that Caravan keeps on JetStream, declared once and made so at every start and reconnect.

The server ignores a changed consumer configuration on an existing durable unless told to update it, and a broker that
lost its store has neither: both are compared and mended here. A stream's *epoch* is the moment it was made; a new epoch
means that the broker forgot everything, and the outbox says it all again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from caravan_shared.contracts.events import EVENTS

FACTS = "FACTS"
DEAD = "DEAD"
KEPT_FOR_S = 24 * 3600.0
"""Facts are kept for a day: a service that was away longer catches up by resync."""
_DEAD_KEPT_FOR_S = 30 * 24 * 3600.0
_DUPLICATE_WINDOW_S = 120.0
_MAX_PAYLOAD = 1024 * 1024
"""nats-server's default; it ends the connection of whoever sends more, headers included."""
MAX_EVENT_BYTES = _MAX_PAYLOAD - 64 * 1024
"""An event with its headers; what is left lets it become a dead letter, which has some more."""


@dataclass(frozen=True)
class Subscription:
    """One durable pull consumer: who listens to which subject of which stream."""

    service: str
    subject: str
    stream: str = FACTS
    ack_wait_s: float = 10.0  # handlers only write to the store; what a killed process held comes again after this long

    @property
    def durable(self) -> str:
        """The consumer's name on the server."""
        return f"{self.service}-{self.subject}".replace(".", "-").replace("*", "any").replace(">", "all")

    def config(self) -> ConsumerConfig:
        """What the server shall keep of it."""
        return ConsumerConfig(
            durable_name=self.durable,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_s,
            max_deliver=-1,  # we dead-letter on purpose; the server would stop without a word
            max_ack_pending=256,
            filter_subject=self.subject,
        )


def intake_stream(team: str) -> str:
    """The stream of one team's requests; one each, so that no team's ids can swallow another's."""
    return f"INTAKE_{team}"


def stream_config(name: str, replicas: int) -> StreamConfig:
    """What each stream looks like."""
    if name == FACTS:
        subjects, kept_for_s = sorted({f"{subject.split('.')[0]}.>" for subject in EVENTS}), KEPT_FOR_S
    elif name == DEAD:
        subjects, kept_for_s = ["dead.>"], _DEAD_KEPT_FOR_S
    else:
        subjects, kept_for_s = [f"intake.{name.removeprefix('INTAKE_')}.>"], KEPT_FOR_S
    return StreamConfig(
        name=name,
        subjects=subjects,
        max_age=kept_for_s,
        storage=StorageType.FILE,
        num_replicas=replicas,
        duplicate_window=_DUPLICATE_WINDOW_S,
        max_msg_size=_MAX_PAYLOAD if name == DEAD else MAX_EVENT_BYTES,
        allow_direct=True,
    )


async def ensure_topology(js: JetStreamContext, subscriptions: Iterable[Subscription], replicas: int) -> str:
    """Make streams and consumers as declared; return the epoch of the facts stream."""
    wanted = list(subscriptions)
    for stream in sorted({FACTS, DEAD} | {subscription.stream for subscription in wanted}):
        await _ensure_stream(js, stream_config(stream, replicas))
    for subscription in wanted:
        await _ensure_consumer(js, subscription)
    return await epoch(js)


async def epoch(js: JetStreamContext) -> str:
    """When the facts stream was made: another value means that the broker lost what it had."""
    info = await js.stream_info(FACTS)
    return info.created.isoformat() if info.created else ""


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        found = (await js.stream_info(str(wanted.name))).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    fields = ("subjects", "max_age", "num_replicas", "duplicate_window", "max_msg_size")
    if any(getattr(found, field) != getattr(wanted, field) for field in fields):
        await js.update_stream(wanted)


async def _ensure_consumer(js: JetStreamContext, subscription: Subscription) -> None:
    wanted = subscription.config()
    try:
        found = (await js.consumer_info(subscription.stream, subscription.durable)).config
    except NotFoundError:
        await js.add_consumer(subscription.stream, wanted)
        return
    fields = ("filter_subject", "ack_wait", "max_deliver", "max_ack_pending")
    if any(getattr(found, field) != getattr(wanted, field) for field in fields):
        await js.add_consumer(subscription.stream, wanted)
