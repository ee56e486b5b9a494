"""Logs: one event a line with the ids it concerns."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.log import bound, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines_carry_the_service_and_the_bound_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dns", "INFO", "json")
    with bound(cluster="c-1"):
        get_logger("a").info("endpoint issued", node="n-1")
    get_logger("a").debug("not shown")
    get_logger("b").warning("outside")
    first, second = lines(capsys)
    assert first["event"] == "endpoint issued"
    assert (first["service"], first["cluster"], first["node"], first["level"]) == ("dns", "c-1", "n-1", "info")
    assert "cluster" not in second


def test_line_names_the_trace_that_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dns", "INFO", "json")
    tracing.start_with(InMemorySpanExporter(), "dns", "one")
    with tracing.door("POST /", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, {}):
        get_logger("a").info("inside")
        logging.getLogger("somebody").warning("inside, too")
    get_logger("a").info("outside")
    tracing.stop()
    inside, theirs, outside = lines(capsys)
    assert inside["trace_id"] == theirs["trace_id"] == "a" * 32
    assert "trace_id" not in outside


def test_libraries_log_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dns", "INFO", "json")
    logging.getLogger("somebody").error("it broke")
    [line] = lines(capsys)
    assert (line["event"], line["service"], line["logger"]) == ("it broke", "dns", "somebody")


def test_error_comes_with_its_traceback_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dns", "INFO", "json")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        get_logger("a").exception("failed")
    [line] = lines(capsys)
    assert "ZeroDivisionError" in str(line["exception"])


def test_text_for_people_names_event_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dns", "INFO", "text")
    get_logger("a").info("endpoint issued", cluster="c-1")
    text = capsys.readouterr().err
    assert "endpoint issued" in text
    assert "cluster=c-1" in text
