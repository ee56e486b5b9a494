"""Requests made from the API's own OpenAPI document, fitting and not, and what their answers have to keep to."""

from collections.abc import Sequence
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.api.conftest import ADMIN

CHECKS: Sequence[Any] = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
HEADERS = {"Authorization": f"Bearer {ADMIN}"}


def probe(url: str, cluster_id: str, cases_a_route: int, seed: int | None = None) -> int:
    """Send generated requests to every route but the streams, which never end; how many that were.

    With a seed they are the same each time.
    """
    schema = openapi.from_url(url).exclude(path_regex="/events$")
    found = list(schema.get_all_operations())
    operations = [operation.ok() for operation in found if isinstance(operation, Ok)]
    assert len(operations) == len(found) > 15
    sent = 0
    for operation in operations:
        in_path = {"cluster": cluster_id} if "{cluster}" in operation.path and operation.method != "delete" else None
        modes = [operation.as_strategy(generation_mode=mode, path_parameters=in_path) for mode in GenerationMode]
        sent += send(st.one_of(modes), cases_a_route, seed)
    return sent


def send(cases: st.SearchStrategy[schemathesis.Case[Any]], count: int, seed: int | None) -> int:
    """Send so many of the cases, or all where there are fewer, and check each answer; how many that were."""
    sent = 0

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def check(case: schemathesis.Case[Any]) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(headers=HEADERS, checks=list(CHECKS))

    (check if seed is None else hypothesis.seed(seed)(check))()
    return sent
