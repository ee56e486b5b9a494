"""Cursors lead back to where a page ended, and any other text is refused, never an error of ours."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_api.doors.rest.bodies import merged
from caravan_api.errors import Malformed
from caravan_api.pages import decode_cursor, encode_cursor


def test_a_cursor_holds_its_position() -> None:
    position = ("demo", 7, uuid4(), datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert decode_cursor(encode_cursor(*position), str, int, UUID, datetime) == position


@settings(max_examples=200)
@given(text=st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode_cursor(text, datetime, UUID)


@pytest.mark.parametrize("position", [("a\x00",), (2**63,), (-1,)])
def test_what_a_database_cannot_compare_is_refused(position: tuple[Any]) -> None:
    with pytest.raises(Malformed):
        decode_cursor(encode_cursor(*position), type(position[0]))


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ],
)
def test_merge_patches_as_rfc_7396_shows_them(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


def test_an_absurdly_deep_patch_is_refused() -> None:
    patch: Any = 1
    for _ in range(50):
        patch = {"a": patch}
    with pytest.raises(Malformed):
        merged({}, patch)
