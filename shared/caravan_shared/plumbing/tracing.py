"""Traces, by OpenTelemetry: what one request sets off in all services, on one page of a trace viewer.

Off unless an OTLP endpoint is set; then nothing is measured, kept or sent. A trace begins at a door (REST, a team's
event), or in a turn that does something of its own accord. It goes on wherever its context is carried, as W3C Trace
Context has it: in the outbox, in the headers of messages, in each store beside the key that it is about (`traces`).
`tracestate` says when it began, so that of two traces about one key the newer one can be told.

Spans hold ids, counts and names. What an error says stands in them as it does in logs: it holds no secret either.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from caravan_shared.plumbing.errors import Retry
from caravan_shared.plumbing.versions import version_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

Carrier = Mapping[str, str]
"""A trace's context as headers, `traceparent` and `tracestate`; empty: none."""
Attributes = Mapping[str, str | int | bool]

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
IDLE = "caravan.idle"
"""Attribute of a turn's span for as long as nothing was done in it."""
_BEGAN = "caravan"  # the name of our entry in tracestate: when the trace began, milliseconds since 1970
_LONGEST_REASON = 300  # characters
_OTHER_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_W3C = TraceContextTextMapPropagator()

_provider: "TracerProvider | None" = None
_tracer: Tracer | None = None


# --- on and off ---


def start(service: str, instance: str, endpoint: str | None) -> None:
    """Send spans to `endpoint` (base URL of an OTLP/HTTP collector), or to where OpenTelemetry's variables say.

    Without either, tracing stays off. `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_EXPORTER_OTLP_HEADERS` and
    `OTEL_RESOURCE_ATTRIBUTES` mean what OpenTelemetry says they do.
    """
    if not endpoint and not any(os.environ.get(name) for name in _OTHER_ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    to = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    start_with(OTLPSpanExporter(endpoint=to), service, instance)


def start_with(exporter: "SpanExporter", service: str, instance: str) -> None:
    """Hand spans to `exporter`, in batches, from a thread of its own."""
    global _provider, _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from caravan_shared.plumbing.tracing_sdk import WithoutIdle

    about: dict[str, str | int] = {
        "service.name": f"caravan-{service}",
        "service.instance.id": instance,
        "service.version": version_of(service),
        "process.pid": os.getpid(),  # tells a replica's lives apart
    }
    _provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    _provider.add_span_processor(WithoutIdle(BatchSpanProcessor(exporter)))
    _tracer = _provider.get_tracer("caravan")


def stop() -> None:
    """Send what is left, and be off. Takes some seconds where nobody answers."""
    global _provider, _tracer
    if _provider:
        _provider.shutdown()
    _provider = _tracer = None


def is_on() -> bool:
    """Whether spans are made at all."""
    return _tracer is not None


# --- spans ---


@contextmanager
def door(name: str, caller: Carrier, attributes: Attributes) -> Iterator[Span]:
    """A request from outside: part of the caller's trace where it has one, else a new trace begins.

    Of what the caller says, only which trace it is: when that began for us, we say ourselves.
    """
    own = {name.lower(): value for name, value in caller.items() if name.lower() == TRACEPARENT}
    with _span(name, SpanKind.SERVER, own, attributes) as span:
        yield span


@contextmanager
def continuing(name: str, carrier: Carrier, kind: SpanKind, attributes: Attributes) -> Iterator[None]:
    """Work that belongs to the trace in `carrier`; no span where that holds none."""
    if TRACEPARENT not in carrier:
        yield
        return
    with _span(name, kind, carrier, attributes):
        yield


@contextmanager
def step(name: str, kind: SpanKind, attributes: Attributes) -> Iterator[None]:
    """A step of what is under way; no span where that is in no trace."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield
        return
    with _span(name, kind, None, attributes):
        yield


def open_step(name: str, kind: SpanKind, attributes: Attributes) -> Span:
    """A step that ends when its `end` is called; nothing is below it."""
    if _tracer is None or not trace.get_current_span().get_span_context().is_valid:
        return trace.INVALID_SPAN
    return _tracer.start_span(name, kind=kind, attributes=attributes)


@contextmanager
def turn(name: str, carrier: Carrier, attributes: Attributes) -> Iterator[None]:
    """A reconciler's turn: in its key's trace, or one of its own; left out where nothing was done in it."""
    with _span(name, SpanKind.INTERNAL, carrier, {**attributes, IDLE: True}):
        yield


def busy() -> None:
    """Something was done in this turn."""
    forget_idle(trace.get_current_span())


def fail(reason: str) -> None:
    """The present step failed, although it raises nothing."""
    mark_failed(trace.get_current_span(), reason)


def mark_failed(span: Span, reason: str) -> None:
    """A step failed."""
    forget_idle(span)
    span.set_status(Status(StatusCode.ERROR, reason[:_LONGEST_REASON]))


def forget_idle(span: Span) -> None:
    """Have a span kept, whatever follows."""
    attributes = getattr(span, "attributes", None) or {}
    if span.is_recording() and attributes.get(IDLE):
        span.set_attribute(IDLE, False)


@contextmanager
def _span(name: str, kind: SpanKind, carrier: Carrier | None, attributes: Attributes) -> Iterator[Span]:
    if _tracer is None:
        yield trace.INVALID_SPAN
        return
    within = None if carrier is None else _W3C.extract(dict(carrier))
    with _tracer.start_as_current_span(
        name, within, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Retry as error:
            span.set_attribute("caravan.put_off", error.reason[:_LONGEST_REASON])
            raise
        except Exception as error:
            mark_failed(span, f"{type(error).__name__}: {error}")
            raise


# --- the context that is carried ---


def current() -> dict[str, str]:
    """The present trace's context as headers; empty where there is none, or nobody will see it."""
    context = trace.get_current_span().get_span_context()
    if _tracer is None or not context.is_valid or not context.trace_flags.sampled:
        return {}
    state = context.trace_state
    if state.get(_BEGAN) is None:
        state = state.add(_BEGAN, str(int(datetime.now(UTC).timestamp() * 1000)))
    told = SpanContext(context.trace_id, context.span_id, False, context.trace_flags, state)
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(NonRecordingSpan(told)))
    return carrier


def trace_id() -> str | None:
    """The present trace's id, 32 hexadecimal digits; None: there is none."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def trace_id_of(carrier: Carrier) -> str:
    """The id of the trace in a carrier that has one."""
    return carrier[TRACEPARENT].split("-")[1]


def began_at(carrier: Carrier) -> datetime:
    """When the trace in a carrier of ours began, to the millisecond."""
    context = trace.get_current_span(_W3C.extract(dict(carrier))).get_span_context()
    return datetime.fromtimestamp(int(context.trace_state[_BEGAN]) / 1000, UTC)
