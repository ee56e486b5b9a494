"""Structured logs: one event a line with the ids it concerns, JSON for machines or plain text for people.

Every line of work on behalf of a cluster carries `cluster=`; `bound(cluster=…)` adds ids to all lines below it. Where
tracing is on, `trace_id=` names the trace that the work belongs to.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, cast

import structlog

from caravan_shared.plumbing import tracing


def configure_logging(service: str, level: str, style: str) -> None:
    """Send all logs, ours and the libraries', to stderr. `style`: `json` or `text`."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiosqlite", "alembic", "caravan.faststream", "nats", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)


def _add_trace(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if trace_id := tracing.trace_id():
        event["trace_id"] = trace_id
    return event


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `get_logger(__name__)`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))


def bound(**ids: Any) -> AbstractContextManager[None]:
    """Add ids to every log line within the `with` block, across awaits."""
    return structlog.contextvars.bound_contextvars(**ids)
