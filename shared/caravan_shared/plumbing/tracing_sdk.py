"""What of tracing needs OpenTelemetry's SDK: it is loaded where tracing is on, and nowhere else."""

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from caravan_shared.plumbing.tracing import IDLE, forget_idle


class WithoutIdle(SpanProcessor):
    """Hands on every span but those of turns in which nothing was done: every live key has one a minute."""

    def __init__(self, to: SpanProcessor) -> None:
        self._to = to

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span below another one is something done in it."""
        forget_idle(trace.get_current_span(parent_context))
        self._to.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand on, or drop."""
        if not (span.attributes or {}).get(IDLE):
            self._to.on_end(span)

    def shutdown(self) -> None:
        """See `SpanProcessor.shutdown`."""
        self._to.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanProcessor.force_flush`."""
        return self._to.force_flush(timeout_millis)
