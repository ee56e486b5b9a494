"""The API keeps to its own OpenAPI document, for requests that fit it and for those that do not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import openapi
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.integration.api.conftest import ADMIN, Stack

CHECKS: Sequence[Any] = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
HEADERS = {"Authorization": f"Bearer {ADMIN}"}


# The api runs in this process: what its jitter draws while a case is being made is taken for the strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.usefixtures("dns", "inventory", "provisioner", "runs")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases_a_route", [2, pytest.param(12, marks=pytest.mark.long)])
async def test_every_route_answers_as_it_is_documented(stack: Stack, cases_a_route: int) -> None:
    cluster = await stack.make_ready(await stack.create())
    url = f"http://127.0.0.1:{stack.service.http_port}/openapi.json"
    await asyncio.to_thread(probe, url, cluster["id"], cases_a_route)


def probe(url: str, cluster_id: str, cases_a_route: int) -> None:
    """Send generated requests to every route but the streams, which never end."""
    schema = openapi.from_url(url).exclude(path_regex="/events$")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:
        in_path = {"cluster": cluster_id} if "{cluster}" in operation.path and operation.method != "delete" else None
        modes = [operation.as_strategy(generation_mode=mode, path_parameters=in_path) for mode in GenerationMode]
        send(st.one_of(modes), cases_a_route)


def send(cases: st.SearchStrategy[schemathesis.Case], count: int) -> None:
    """Send so many of the cases, and check each answer."""

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=HEADERS, checks=list(CHECKS))

    check()


async def test_the_document_names_examples_and_errors(stack: Stack) -> None:
    document = (await stack.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    create = document["paths"]["/v1/clusters"]["post"]
    assert list(create["responses"]["4XX"]["content"]) == ["application/problem+json"]
    schemas = document["components"]["schemas"]
    assert schemas["CreateCluster"]["examples"]
    assert schemas["ClusterSpec"]["examples"]
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["description"], operation["operationId"]
            assert operation.get("security") or operation["tags"] == ["login"], (
                "only how to log in is told to everybody"
            )
