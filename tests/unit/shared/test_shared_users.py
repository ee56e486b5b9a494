"""What a user may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from caravan_shared.contracts.users import UserName, why_no_user

_TYPE: TypeAdapter[str] = TypeAdapter(UserName)


@pytest.mark.parametrize("name", ["alice", "alice+ci@example.org", "repo:acme/app:ref:refs/heads/main", "0", "a" * 64])
def test_names_of_people_and_jobs_pass(name: str) -> None:
    assert why_no_user(name) is None


@given(name=st.text(max_size=70) | st.from_regex(r"(?i)(system|caravan):.*") | st.from_regex(r"[a-z@.:/+_-]{1,66}"))
def test_type_and_rule_agree(name: str) -> None:
    try:
        _TYPE.validate_python(name)
    except ValidationError:
        assert why_no_user(name)
    else:
        assert why_no_user(name) is None
