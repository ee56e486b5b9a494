"""The language between services: every example holds, and what was once said is still understood."""

import json
from pathlib import Path
from typing import Any, get_origin
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan_shared.contracts import requests
from caravan_shared.contracts.events import EVENTS, ClusterRequested
from caravan_shared.contracts.facts import ClusterEvent, Event
from caravan_shared.contracts.public import ASKS, ClusterWanted
from caravan_shared.contracts.requests import Reply, Request

GOLDEN = Path(__file__).with_name("golden")
"""Payloads as they were first said, one file a subject and version; a file is added, never changed."""

every_event = pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@every_event
def test_example_validates_and_survives_the_wire(event: type[Event]) -> None:
    said = event.model_validate(event.example)
    assert event.model_validate_json(said.model_dump_json()) == said
    assert set(event.example) <= set(event.model_fields)


def _from_a_newer_sender(value: Any) -> Any:
    """The same with one field more in every object, however deep."""
    if isinstance(value, list):
        return [_from_a_newer_sender(item) for item in value]
    if isinstance(value, dict):
        return {**{name: _from_a_newer_sender(item) for name, item in value.items()}, "added_since": {"colour": "blue"}}
    return value


@every_event
def test_fields_that_a_newer_sender_adds_are_tolerated_at_any_depth(event: type[Event]) -> None:
    for payload in (event.example, json.loads((GOLDEN / f"{event.subject}.v{event.schema_version}.json").read_text())):
        plain, free = event.model_validate(payload), _free_form(event)
        newer = {name: value if name in free else _from_a_newer_sender(value) for name, value in payload.items()}
        assert event.read(json.dumps({**newer, "added_since": 1})) == plain


def _free_form(event: type[Event]) -> set[str]:
    """Fields whose keys are data: nothing in them is unknown."""
    return {name for name, field in event.model_fields.items() if get_origin(field.annotation) is dict}


@every_event
def test_event_says_what_it_means(event: type[Event]) -> None:
    assert event.__doc__
    assert event.schema_version >= 1
    entity, _, what = event.subject.partition(".")
    assert entity.isalpha()
    assert what.replace("_", "").isalpha()


@every_event
def test_events_cannot_be_changed_once_made(event: type[Event]) -> None:
    said = event.model_validate(event.example)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(said, next(iter(event.model_fields)), None)


def test_no_two_events_or_requests_share_a_subject() -> None:
    def concrete(base: type[Any]) -> list[Any]:
        return [cls for sub in base.__subclasses__() for cls in ([sub] if "subject" in vars(sub) else concrete(sub))]

    ours = [cls for cls in concrete(Event) + concrete(Request) if cls.__module__.startswith("caravan_shared.")]
    assert len({cls.subject for cls in ours}) == len(ours)
    assert {*EVENTS.values(), ClusterWanted} == {cls for cls in ours if issubclass(cls, Event)}


def test_every_request_names_its_owner_and_its_reply() -> None:
    ours = [cls for cls in Request.__subclasses__() if cls.__module__ == requests.__name__]
    assert ours
    for request in ours:
        rpc, owner, _ = request.subject.split(".")
        assert rpc == "rpc"
        assert owner in {"dns", "bootstrapper", "provisioner", "health", "everyone"}
        assert issubclass(request.reply, Reply)


@every_event
def test_what_was_once_said_is_still_understood(event: type[Event]) -> None:
    path = GOLDEN / f"{event.subject}.v{event.schema_version}.json"
    assert path.exists(), f"new event or version: write its example to {path.name}, then leave that file alone"
    golden = json.loads(path.read_text())
    said = event.model_validate(golden)
    for field, value in event.model_validate(event.example).model_dump(mode="json").items():
        if field in golden:
            assert type(value) is type(said.model_dump(mode="json")[field]), f"{field} changed its kind"


def test_no_golden_payload_is_left_without_an_event() -> None:
    known = {f"{event.subject}.v{event.schema_version}.json" for event in EVENTS.values()}
    asked = {f"intake.{ASKS}.v{ClusterWanted.schema_version}.json"}
    assert {path.name for path in GOLDEN.iterdir()} == known | asked


@settings(max_examples=200)
@given(data=st.data())
def test_any_payload_is_either_an_event_or_refused(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from(list(EVENTS.values())))
    payload = {**event.example, **data.draw(st.dictionaries(st.sampled_from(sorted(event.model_fields)), anything))}
    try:
        said = event.model_validate_json(json.dumps(payload))
    except ValidationError:
        return
    assert event.model_validate_json(said.model_dump_json()) == said


def test_cluster_events_are_about_a_uuid() -> None:
    event = ClusterRequested.model_validate(ClusterRequested.example)
    assert isinstance(event, ClusterEvent)
    assert isinstance(event.cluster_id, UUID)
