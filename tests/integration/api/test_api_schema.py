"""The API keeps to its own OpenAPI document, for requests that fit it and for those that do not."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.api.conformity import probe
from tests.integration.api.conftest import Stack


# The api runs in this process: what its jitter draws while a case is being made is taken for the strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.usefixtures("dns", "inventory", "provisioner", "runs")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases_a_route", [2, pytest.param(12, marks=pytest.mark.long)])
async def test_every_route_answers_as_it_is_documented(stack: Stack, cases_a_route: int) -> None:
    cluster = await stack.make_ready(await stack.create())
    url = f"http://127.0.0.1:{stack.service.http_port}/openapi.json"
    await asyncio.to_thread(probe, url, cluster["id"], cases_a_route)


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


async def test_every_number_that_a_request_may_carry_has_bounds(stack: Stack) -> None:
    """Else one is sent that no store holds."""
    document = (await stack.http.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    asked = [[operation.get("requestBody"), operation.get("parameters")] for operation in operations]
    numbers = list(_numbers(asked, document["components"]["schemas"], set()))
    assert len(numbers) > 50
    for number in numbers:
        assert number.get("maximum", number.get("exclusiveMaximum", 2**64)) < 2**63, number


def _numbers(said: Any, schemas: dict[str, Any], seen: set[str]) -> Iterator[dict[str, Any]]:
    """Every schema of a number in what is said, and in what that refers to."""
    if isinstance(said, list):
        for part in said:
            yield from _numbers(part, schemas, seen)
    elif isinstance(said, dict):
        if said.get("type") in ("integer", "number"):
            yield said
        if (name := said.get("$ref", "").rpartition("/")[2]) and name not in seen:
            seen.add(name)
            yield from _numbers(schemas[name], schemas, seen)
        for part in said.values():
            yield from _numbers(part, schemas, seen)
