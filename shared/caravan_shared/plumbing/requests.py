"""Questions between services over NATS request/reply, for answers that are needed at once.

A reply travels sealed, because it may carry a secret and the server may be watched. An error on the other side arrives
here as the same error: `Retry` or `GiveUp`. No answer is a `Retry` too: whoever asks is a reconciler and comes again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import nats.errors
from faststream.nats.annotations import NatsMessage
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.requests import Reply, Request
from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.sealing import KeyRing

_ANSWERS = Counter("caravan_answers_total", "Requests answered, by what was answered.", ["subject", "result"])
_SECONDS = Histogram(
    "caravan_answer_seconds",
    "Seconds until a request was answered.",
    ["subject"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

log = get_logger(__name__)

Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Reply)


def answer(
    bus: Bus,
    keys: KeyRing,
    request_type: type[Q],
    handler: Callable[[Q], Awaitable[Reply]],
    *,
    by_every_replica: bool = False,
    replica: str | None = None,
) -> None:
    """Answer every request of a type with `handler`; one of the service's replicas gets each, or all do.

    `replica`: this one's name, where a request is for one of them; it gets what `ask` addresses to it.
    """

    about = {"messaging.system": "nats", "messaging.destination.name": request_type.subject}

    async def respond(request: Any, message: NatsMessage) -> dict[str, Any]:
        with _SECONDS.labels(request_type.subject).time():
            answered = await outcome(request, message)
        [result] = answered
        _ANSWERS.labels(request_type.subject, result).inc()
        return answered

    async def outcome(request: Q, message: NatsMessage) -> dict[str, Any]:
        try:
            with tracing.continuing(
                f"answer {request_type.subject}", message.raw_message.headers or {}, SpanKind.SERVER, about
            ):
                reply = await handler(request)
        except Retry as error:
            return {"retry": {"reason": error.reason, "after": error.after}}
        except GiveUp as error:
            return {"give_up": {"reason": error.reason, "who_can_fix": error.who_can_fix}}
        except Exception:
            log.exception("request failed", subject=request_type.subject)
            return {"retry": {"reason": f"{bus.service} failed to answer; its log says why", "after": 5.0}}
        return {"sealed": keys.seal(reply.model_dump_json(), request_type.subject)}

    respond.__annotations__["request"] = request_type
    subscriber = bus.broker.subscriber(
        _addressed(request_type, replica),
        queue="" if by_every_replica else bus.service,
        max_workers=32,
        title=request_type.subject,
        description=request_type.__doc__,
    )
    subscriber(respond)


async def ask(bus: Bus, keys: KeyRing, request: Request, reply_type: type[R], *, replica: str | None = None) -> R:
    """Ask the service that owns the answer, or one `replica` of it; raises what it raised, or `Retry` if it is mute."""
    with tracing.step(f"ask {request.subject}", SpanKind.CLIENT, {"messaging.system": "nats"}):
        body = await _answer_to(bus, request, replica)
        if problem := body.get("retry"):
            raise Retry(problem["reason"], after=problem["after"])
        if problem := body.get("give_up"):
            raise GiveUp(problem["reason"], who_can_fix=WhoCanFix(problem["who_can_fix"]))
        return reply_type.read(keys.open(body["sealed"], request.subject))


async def ask_all(bus: Bus, keys: KeyRing, request: Request, reply_type: type[R]) -> list[R]:
    """Ask everybody who listens, and gather for `request.timeout_s` what they answer; raises `Retry` without NATS.

    Who fails to answer is left out, as who is not there.
    """
    answers: list[R] = []

    async def take(message: Msg) -> None:
        body = json.loads(message.data)
        if "sealed" in body:
            answers.append(reply_type.read(keys.open(body["sealed"], request.subject)))

    try:
        inbox = bus.client.new_inbox()
        subscription = await bus.client.subscribe(inbox, cb=take)
        await bus.client.publish(request.subject, request.model_dump_json().encode(), reply=inbox)
        await asyncio.sleep(request.timeout_s)
        await subscription.unsubscribe()
    except (nats.errors.Error, TimeoutError) as error:
        raise Retry(f"nobody could be asked: {error or type(error).__name__}") from error
    return answers


def _addressed(request: type[Request] | Request, replica: str | None) -> str:
    """The subject; that of one replica ends in its name, in hexadecimal: a name may hold what a subject may not."""
    return request.subject if replica is None else f"{request.subject}.{replica.encode().hex()}"


async def _answer_to(bus: Bus, request: Request, replica: str | None) -> dict[str, Any]:
    owner = request.subject.split(".")[1] + (f"'s replica {replica}" if replica is not None else "")
    try:
        message = await bus.client.request(
            _addressed(request, replica),
            request.model_dump_json().encode(),
            timeout=request.timeout_s,
            headers=tracing.current() or None,
        )
    except nats.errors.NoRespondersError as error:
        raise Retry(f"{owner} is not there to answer") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise Retry(f"{owner} did not answer: {error or type(error).__name__}") from error
    body: dict[str, Any] = json.loads(message.data)
    return body
