"""A link to a trace needs a place for the trace's id."""

import pytest
from pydantic import ValidationError

from caravan_api.settings import Settings


def test_trace_url_is_a_web_address_with_a_place_for_the_id() -> None:
    template = "https://jaeger.example.org/trace/{trace_id}?from=caravan"
    assert Settings(trace_url=template).trace_url == template


@pytest.mark.parametrize("template", ["https://jaeger.example.org/", "javascript:{trace_id}", "https://x/{id}"])
def test_any_other_template_keeps_the_api_from_starting(template: str) -> None:
    with pytest.raises(ValidationError, match="trace_url"):
        Settings(trace_url=template)
