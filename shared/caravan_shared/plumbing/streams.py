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
from caravan_shared.contracts.facts import PROGRESS as PROGRESS_SUBJECTS
from caravan_shared.contracts.facts import ProgressEvent
from caravan_shared.contracts.public import INTAKE

FACTS = "FACTS"
DEAD = "DEAD"
PROGRESS = "PROGRESS"
KEPT_FOR_S = 24 * 3600.0
"""Facts are kept for a day: a service that was away longer catches up by resync."""
_DEAD_KEPT_FOR_S = 30 * 24 * 3600.0
_DEAD_SUBJECTS = "dead"
DEAD_LETTERS = f"{_DEAD_SUBJECTS}.>"
"""The subjects of all dead letters."""
_DUPLICATE_WINDOW_S = 120.0
_MAX_PAYLOAD = 1024 * 1024
"""nats-server's default; it ends the connection of whoever sends more, headers included."""
MAX_EVENT_BYTES = _MAX_PAYLOAD - 64 * 1024
"""An event with its headers; what is left lets it become a dead letter, which has some more."""


@dataclass(frozen=True)
class Kept:
    """How much a stream keeps: what is older goes, and the oldest where it grows too large."""

    for_s: float = KEPT_FOR_S
    max_bytes: int = -1  # no limit


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


def dead_subject(service: str, subject: str) -> str:
    """Where a service puts aside what it heard on `subject` and could not take."""
    return f"{_DEAD_SUBJECTS}.{service}.{subject}"


def stream_of(subject: str) -> str:
    """The stream that keeps what is published on `subject`."""
    first, *rest = subject.split(".")
    if first == INTAKE:
        return intake_stream(rest[0])
    return {_DEAD_SUBJECTS: DEAD, PROGRESS_SUBJECTS: PROGRESS}.get(first, FACTS)


def stream_config(name: str, replicas: int, progress: Kept = Kept()) -> StreamConfig:
    """What each stream looks like; `progress` is how much is kept of what teams are told."""
    if name == FACTS:
        facts = [subject for subject, event in EVENTS.items() if not issubclass(event, ProgressEvent)]
        subjects, kept = sorted({f"{subject.split('.')[0]}.>" for subject in facts}), Kept()
    elif name == DEAD:
        subjects, kept = [DEAD_LETTERS], Kept(_DEAD_KEPT_FOR_S)
    elif name == PROGRESS:
        subjects, kept = [f"{PROGRESS_SUBJECTS}.>"], progress
    else:
        subjects, kept = [f"{INTAKE}.{name.removeprefix(intake_stream(''))}.>"], Kept()
    return StreamConfig(
        name=name,
        subjects=subjects,
        max_age=kept.for_s,
        max_bytes=kept.max_bytes,
        storage=StorageType.FILE,
        num_replicas=replicas,
        duplicate_window=_DUPLICATE_WINDOW_S,
        max_msg_size=_MAX_PAYLOAD if name == DEAD else MAX_EVENT_BYTES,
        allow_direct=True,
    )


async def ensure_topology(
    js: JetStreamContext, subscriptions: Iterable[Subscription], replicas: int, progress: Kept | None = None
) -> str:
    """Make streams and consumers as declared; return the epoch of the facts stream.

    `progress` is how much is kept of what teams are told; None leaves that stream to the service that tells them.
    """
    wanted = list(subscriptions)
    ours = {FACTS, DEAD} | ({PROGRESS} if progress else set())
    for stream in sorted(ours | {subscription.stream for subscription in wanted}):
        await _ensure_stream(js, stream_config(stream, replicas, progress or Kept()))
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
    fields = ("subjects", "max_age", "max_bytes", "num_replicas", "duplicate_window", "max_msg_size")
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
