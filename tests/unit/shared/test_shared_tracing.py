"""What a trace is made of: where one begins, how its context is carried, what is left out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.errors import Retry

INSIDE = SpanKind.INTERNAL
CALLER = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}


class Exported(InMemorySpanExporter):
    """Keeps what was sent once tracing is stopped, which sends what is left."""

    def all(self) -> dict[str, ReadableSpan]:
        tracing.stop()
        return {span.name: span for span in self.get_finished_spans()}


@pytest.fixture
def exported() -> Iterator[Exported]:
    exporter = Exported()
    tracing.start_with(exporter, "example", "one")
    yield exporter
    tracing.stop()


def test_tracing_is_off_unless_it_is_told_where_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    tracing.start("example", "one", None)
    assert not tracing.is_on()
    with tracing.door("POST /", CALLER, {}):
        assert tracing.current() == {}
        assert tracing.trace_id() is None


def test_the_standard_variable_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing.start("example", "one", None)
    assert tracing.is_on()
    tracing.stop()
    assert not tracing.is_on()


def test_door_goes_on_with_the_callers_trace_and_else_begins_one(exported: Exported) -> None:
    with tracing.door("called", CALLER, {}):
        assert tracing.trace_id() == "a" * 32
    with tracing.door("own", {}, {}):
        assert tracing.trace_id() != "a" * 32
    spans = exported.all()
    assert spans["called"].parent
    assert spans["own"].parent is None


def test_what_is_carried_says_when_the_trace_began_and_keeps_saying_it(exported: Exported) -> None:
    with tracing.door("POST /", {}, {}):
        carried = tracing.current()
    began = tracing.began_at(carried)
    assert abs(began - datetime.now(UTC)) < timedelta(seconds=30)
    with tracing.continuing("process", carried, SpanKind.CONSUMER, {}):
        assert tracing.trace_id() == tracing.trace_id_of(carried)
        assert tracing.began_at(tracing.current()) == began
    assert len(exported.all()) == 2


def test_steps_and_messages_in_no_trace_make_no_span(exported: Exported) -> None:
    with tracing.step("cloud GET /", SpanKind.CLIENT, {}), tracing.continuing("process", {}, SpanKind.CONSUMER, {}):
        tracing.open_step("task", INSIDE, {}).end()
    assert not exported.all()


def test_caller_cannot_say_when_its_trace_began(exported: Exported) -> None:
    for claimed in ("caravan=never", "caravan=99999999999999"):
        with tracing.door("POST /", {**CALLER, "tracestate": claimed}, {}):
            assert tracing.began_at(tracing.current()) < datetime.now(UTC) + timedelta(seconds=30)
    assert exported.all()


def test_unreadable_context_begins_a_trace_instead_of_failing(exported: Exported) -> None:
    with tracing.door("POST /", {"Traceparent": "no context"}, {}):
        assert tracing.current()
    assert exported.all()["POST /"].parent is None


def test_turn_in_which_nothing_was_done_is_left_out(exported: Exported) -> None:
    with tracing.turn("idle", CALLER, {}):
        pass
    with tracing.turn("said something", CALLER, {}):
        tracing.busy()
    with tracing.turn("called a cloud", CALLER, {}), tracing.step("cloud GET /", SpanKind.CLIENT, {}):
        pass
    with pytest.raises(ZeroDivisionError), tracing.turn("failed", CALLER, {}):
        raise ZeroDivisionError
    assert exported.all().keys() == {"said something", "called a cloud", "cloud GET /", "failed"}


def test_error_marks_its_span_and_a_retry_is_no_error(exported: Exported) -> None:
    with pytest.raises(ZeroDivisionError), tracing.door("broken", {}, {}):
        raise ZeroDivisionError("by zero")
    with pytest.raises(Retry), tracing.door("put off", {}, {}):
        raise Retry("not yet")
    spans = exported.all()
    assert spans["broken"].status.status_code is StatusCode.ERROR
    assert spans["broken"].status.description == "ZeroDivisionError: by zero"
    assert spans["put off"].status.status_code is StatusCode.UNSET
    assert (spans["put off"].attributes or {})["caravan.put_off"] == "not yet"


def test_what_nobody_will_see_is_not_carried(exported: Exported) -> None:
    with tracing.door("unsampled", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}, {}):
        assert tracing.current() == {}
    assert not exported.all()
