"""What the provisioner measures, and what traces show of it: its calls to clouds, and how long those had to wait."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from caravan_shared.plumbing import tracing

_CALLS = Counter(
    "caravan_cloud_calls_total", "Calls to a cloud's API; paths without ids.", ["cloud", "method", "path", "result"]
)
_SECONDS = Histogram(
    "caravan_cloud_call_seconds",
    "Seconds until a cloud answered.",
    ["cloud", "method"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
CLOUD_WAIT_SECONDS = Histogram(
    "caravan_cloud_wait_seconds",
    "Seconds that our own limits held a call back: too many at once, too many a second, or the cloud asked for peace.",
    ["cloud"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)


@contextmanager
def cloud_call(cloud: str, method: str, path: str) -> Iterator[None]:
    """Around one call to a cloud's API; `path` is without ids and names, so that equal calls are of one kind."""
    about = {"caravan.cloud": cloud, "http.request.method": method, "url.template": path}
    result = "error"
    try:
        with tracing.step(f"cloud {method} {path}", SpanKind.CLIENT, about), _SECONDS.labels(cloud, method).time():
            yield
        result = "done"
    finally:
        _CALLS.labels(cloud, method, path, result).inc()
