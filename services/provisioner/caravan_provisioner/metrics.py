"""What the provisioner counts, and what traces show of it: its calls to clouds."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from caravan_shared.plumbing import tracing

CLOUD_CALLS = Counter("caravan_cloud_calls_total", "Calls sent to a cloud's API.", ["cloud", "method", "path"])


@contextmanager
def cloud_call(cloud: str, method: str, path: str) -> Iterator[None]:
    """Around one call to a cloud's API; `path` is without ids, so that equal calls are of one kind."""
    CLOUD_CALLS.labels(cloud, method, path).inc()
    about = {"caravan.cloud": cloud, "http.request.method": method, "url.template": path}
    with tracing.step(f"cloud {method} {path}", SpanKind.CLIENT, about):
        yield
