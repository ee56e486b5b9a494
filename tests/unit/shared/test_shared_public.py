"""What teams were once promised of their events holds, and the document that tells them is what it claims to be."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import BaseModel, ValidationError, create_model
from pydantic_asyncapi.v3 import AsyncAPI

from caravan_shared.contracts.asyncapi import document
from caravan_shared.contracts.events import ClusterEndpointIssued
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.public import TOLD, ClusterWanted, intake_subject, without_team

HERE = Path(__file__).parent
FULL, LEAST = HERE / "golden", HERE / "golden_least"
"""Every field that a version began with, and the fewest that it took. A file is added, never changed."""

PUBLIC: dict[str, type[Event]] = {"intake.cluster.requested": ClusterWanted, **TOLD}
DOCUMENT = document()

every_public_event = pytest.mark.parametrize("name", PUBLIC)


def golden(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.v{PUBLIC[name].schema_version}.json").read_text())


def lost(once: Any, now: Any, path: str = "") -> Iterator[str]:
    """Where `now` lacks what `once` had, or has another kind of it."""
    if isinstance(once, dict) and isinstance(now, dict):
        for field, value in once.items():
            if field in now:
                yield from lost(value, now[field], f"{path}.{field}")
            else:
                yield f"{path}.{field}"
    elif isinstance(once, list) and isinstance(now, list) and len(once) == len(now):
        for number, (old, new) in enumerate(zip(once, now, strict=True)):
            yield from lost(old, new, f"{path}.{number}")
    elif type(once) is not type(now):
        yield path


def said_again(event: type[BaseModel], once: Any) -> Any:
    return event.model_validate(once).model_dump(mode="json")


@every_public_event
def test_a_field_that_was_once_public_is_there_for_ever(name: str) -> None:
    once = golden(FULL, name)
    assert not list(lost(once, said_again(PUBLIC[name], once)))


@every_public_event
def test_what_could_once_be_left_out_can_be_for_ever(name: str) -> None:
    PUBLIC[name].model_validate(golden(LEAST, name))


def test_the_promise_notices_a_field_that_disappears_changes_or_becomes_required() -> None:
    once, fields = golden(FULL, "cluster.endpoint_issued"), dict(ClusterEndpointIssued.model_fields)
    kept: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items() if name != "port"}
    without = create_model("Without", **kept)
    assert list(lost(once, said_again(without, once))) == [".port"]
    changed = create_model("Changed", __base__=ClusterEndpointIssued, host=(list[str], ...))
    assert list(lost(once, said_again(changed, {**once, "host": ["x"]}))) == [".host"]
    required = create_model("Required", __base__=ClusterEndpointIssued, virtual_ip=(str | None, ...))
    with pytest.raises(ValidationError, match="virtual_ip"):
        required.model_validate(golden(LEAST, "cluster.endpoint_issued"))


def test_no_least_payload_is_left_without_an_event() -> None:
    assert {path.name for path in LEAST.iterdir()} == {
        f"{name}.v{event.schema_version}.json" for name, event in PUBLIC.items()
    }


# --- the AsyncAPI document -----------------------------------------------------------------------------------------


def test_document_is_asyncapi_3() -> None:
    """By the models of pydantic-asyncapi: AsyncAPI's own JSON schema is in no package of the Python registry."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    AsyncAPI.model_validate(DOCUMENT)


@pytest.mark.parametrize(
    "path",
    [("info", "title"), ("operations", "receive.cluster.requested", "action"), ("channels", "cluster.requested")],
    ids=".".join,
)
def test_document_with_something_else_in_a_place_is_not(path: tuple[str, ...]) -> None:
    *above, last = path
    broken = deepcopy(DOCUMENT)
    place = broken
    for step in above:
        place = place[step]
    place[last] = 7
    with pytest.raises(ValidationError):
        AsyncAPI.model_validate(broken)


def test_every_reference_leads_somewhere() -> None:
    references = set(_references(DOCUMENT))
    assert references
    for reference in references:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_public_event_has_a_channel_an_operation_and_its_version() -> None:
    messages = DOCUMENT["components"]["messages"].values()
    assert {message["name"]: message["x-schema-version"] for message in messages} == {
        event.__name__: event.schema_version for event in PUBLIC.values()
    }
    assert len(DOCUMENT["channels"]) == len(DOCUMENT["operations"]) == len(PUBLIC)
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {"cluster.requested", *(f"progress.{{team}}.{subject}" for subject in TOLD)}


def test_payload_schemas_hold_for_every_example_and_for_no_empty_object() -> None:
    for message in DOCUMENT["components"]["messages"].values():
        schema = {**message["payload"], "components": DOCUMENT["components"]}
        Draft7Validator.check_schema(DOCUMENT["components"]["schemas"][message["name"]])
        Draft7Validator(schema).validate(message["examples"][0]["payload"])
        assert not Draft7Validator(schema).is_valid({})


def test_subject_for_counting_names_no_team() -> None:
    assert without_team(intake_subject("red")) == without_team(intake_subject("blue")) == "intake.cluster.requested"
    assert without_team("cluster.requested") == "cluster.requested"
