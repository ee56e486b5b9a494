"""The connection to NATS: subscriptions in, publishes out, reconnecting for ever.

FastStream routes and documents the messages; acknowledgement is ours (`delivery`), streams and consumers are declared
in `streams`, and its own stream declaration stays off: it would widen a stream by every subject it subscribes to.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
from faststream import AckPolicy
from faststream.nats import JStream, PullSub
from faststream.nats.annotations import NatsMessage
from faststream.nats.subscriber.usecases.stream_pull_subscriber import PullStreamSubscriber
from nats.aio.client import Client
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind

from caravan_shared.contracts.facts import Event
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.connecting import PatientBroker, servers
from caravan_shared.plumbing.delivery import Delivery, Patience
from caravan_shared.plumbing.envelope import Heard, heard
from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.pulling import make_patient
from caravan_shared.plumbing.streams import FACTS, Kept, Subscription, ensure_topology, stream_of

_PUBLISH_TIMEOUT_S = 5.0  # a synced write on a busy disk takes its time
_PULL_TIMEOUT_S = 2.0  # a pull lost with a broken connection is asked again after this long
_PULL_BATCH = 32
_TRY_AGAIN_S = 0.5
_PING_EVERY_S = 10  # a broker that leaves three unanswered is gone, though nobody closed the connection

log = get_logger(__name__)

Receive = Callable[[Heard[Any]], Awaitable[None]]

T = TypeVar("T")


class Bus:
    """One service's connection. `after_new_epoch` runs whenever the broker turns out to have lost its store.

    `progress`, from the service that tells teams how far they are: how much the stream of that keeps.
    """

    def __init__(
        self,
        url: str,
        service: str,
        replicas: int,
        patience: Patience = Patience(),
        progress: Kept | None = None,
    ) -> None:
        self.service = service
        self.epoch = ""
        self.after_new_epoch: Callable[[], None] = lambda: None
        self.subscriptions: list[Subscription] = []
        self.died = asyncio.Event()
        self._replicas, self._progress = replicas, progress
        self._settling: asyncio.Task[None] | None = None
        self._refused = ""
        addresses, we = servers(url)
        self.broker = PatientBroker(
            addresses,
            security=we,
            name=f"caravan-{service}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=_PING_EVERY_S,
            reconnected_cb=self._on_reconnected,
            disconnected_cb=self._on_disconnected,
            closed_cb=self._on_closed,
            error_cb=self._on_error,
            graceful_timeout=15.0,
            middlewares=[Delivery(self, patience)],
            logger=logging.getLogger("caravan.faststream"),
        )

    # --- what it hears ---

    def subscribe(
        self,
        event_type: type[Event],
        receive: Receive,
        *,
        subject: str,
        stream: str = FACTS,
        read: Callable[[bytes], Event] | None = None,
    ) -> None:
        """Hand every event on `subject` to `receive`, at least once, until it returns without an error.

        `read` makes the event of a body, where a sender may send anything; else it is JSON, and what is no such event
        becomes a dead letter at once, what cannot even be read or stored as text among it. On a bus that runs already,
        `begin` has to follow.
        """
        subscription = Subscription(self.service, subject, stream)
        self.subscriptions.append(subscription)

        async def consume(event: Any, message: NatsMessage) -> None:
            got = heard(event, message.raw_message)
            with _hearing(got, event_type.subject, message.raw_message.headers or {}, from_outside=read is not None):
                await receive(got)

        make = read or event_type.read

        async def decode(message: NatsMessage) -> Event:
            return make(message.body)

        consume.__annotations__["event"] = event_type
        self.broker.subscriber(
            subject,
            stream=JStream(stream, declare=False),
            durable=subscription.durable,
            config=subscription.config(),
            pull_sub=PullSub(batch_size=_PULL_BATCH, timeout=_PULL_TIMEOUT_S),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,  # a message must not have us publish where its headers say
            decoder=decode,
            title=subject,
            description=event_type.__doc__,
        )(consume)

    # --- life ---

    async def start(self) -> None:
        """Connect (waiting for a server that is not up yet), settle the topology, begin to consume."""
        while True:
            try:
                await self.broker.connect()
                break
            except (nats.errors.Error, OSError) as error:
                log.warning("no NATS server yet", reason=str(error) or type(error).__name__)
                await asyncio.sleep(_TRY_AGAIN_S)
        await self.begin()

    async def begin(self) -> None:
        """Settle the topology and consume what was subscribed to since the last time; the server knows it by then."""
        await self._settle()
        for subscriber in [each for each in self.broker.subscribers if not each.running]:
            await _insist(subscriber.start)
            if isinstance(subscriber, PullStreamSubscriber) and subscriber.subscription:
                make_patient(subscriber.subscription)
        await _insist(self.client.flush)

    async def stop(self) -> None:
        """Let running handlers finish, then disconnect."""
        if self._settling:
            self._settling.cancel()
        try:
            await self.broker.stop()
        except* nats.errors.Error as errors:  # what waits on a connection that is away or closed cannot be drained
            log.info("not drained", reason=str(errors.exceptions[0]))
            await self.client.close()

    @property
    def client(self) -> Client:
        """The connection underneath."""
        connection = self.broker._connection
        assert connection is not None, "the bus has not been started"
        return connection

    @property
    def js(self) -> JetStreamContext:
        """JetStream on that connection."""
        return self.client.jetstream(timeout=_PUBLISH_TIMEOUT_S)

    @property
    def connected(self) -> bool:
        """Whether the server can be talked to at this moment."""
        return self.broker._connection is not None and self.broker._connection.is_connected

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Store one message in its subject's stream; raises `Retry` when the server did not acknowledge it."""
        try:
            await self.js.publish(
                subject, body, timeout=_PUBLISH_TIMEOUT_S, stream=stream_of(subject), headers=dict(headers)
            )
        except nats.js.errors.Error as error:
            self.settle_soon()  # a missing stream is the sign of a broker that lost its store
            raise Retry(f"JetStream did not store it: {error}") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise Retry(f"NATS did not acknowledge it: {error or type(error).__name__}") from error

    # --- staying well ---

    def settle_soon(self) -> None:
        """Look after the topology in the background, once at a time."""
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        epoch = await _insist(lambda: ensure_topology(self.js, self.subscriptions, self._replicas, self._progress))
        if epoch != self.epoch:
            if self.epoch:
                log.warning("the broker lost its store; saying everything again", epoch=epoch)
            self.epoch = epoch
            self.after_new_epoch()

    async def _on_reconnected(self) -> None:
        log.info("connected to NATS again")
        self._refused = ""
        self.settle_soon()

    async def _on_disconnected(self) -> None:
        log.warning("connection to NATS lost; reconnecting")

    async def _on_closed(self) -> None:
        self.died.set()

    async def _on_error(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if "authorization" in reason.lower() and reason != self._refused:
            log.error("NATS refuses us; trying on: its accounts and CARAVAN_NATS_URL must agree", reason=reason)
            self._refused = reason
        log.debug("NATS client", reason=reason)


def _hearing(
    got: Heard[Any], name: str, headers: dict[str, str], *, from_outside: bool
) -> AbstractContextManager[object]:
    """The span of a delivery: in its sender's trace; what comes from outside without one begins its own."""
    about = {
        "messaging.system": "nats",
        "messaging.destination.name": got.subject,
        "messaging.message.id": got.id,
        "caravan.source": got.source,
        "caravan.about": str(getattr(got.event, "cluster_id", "")),
    }
    if from_outside:
        return tracing.door(f"process {name}", headers, about)
    return tracing.continuing(f"process {name}", headers, SpanKind.CONSUMER, about)


async def _insist(step: Callable[[], Awaitable[T]]) -> T:
    """Take a step that JetStream has to agree to, again until it does."""
    while True:
        try:
            return await step()
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("JetStream is not ready", reason=str(error) or type(error).__name__)
            await asyncio.sleep(_TRY_AGAIN_S)


__all__ = ["Bus", "Heard"]
