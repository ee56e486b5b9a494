"""Names for endpoints, and names that no certificate may carry."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_dns.errors import RefusedUser
from caravan_dns.names import checked_user, endpoint_host
from caravan_shared.contracts.facts import WhoCanFix


def test_endpoint_is_named_after_cluster_and_team() -> None:
    host = endpoint_host("{name}.{team}.{origin}", name="demo", team="default", origin="caravan.test.")
    assert host == "demo.default.caravan.test"


@pytest.mark.parametrize("user", ["alice", "alice@example.org", "ci/build-4711", "oidc:alice", "a" * 64])
def test_ordinary_user_names_pass(user: str) -> None:
    assert checked_user(user) == user


@pytest.mark.parametrize(
    "user",
    [
        "",
        "a" * 65,
        "system:admin",
        "SYSTEM:masters",
        "system:node:demo-control-plane-a1b2-1",
        "caravan:health",
        "alice\n",
        "alice\nO=system:masters",
        "alice,O=system:masters",
        "alice/O=system:masters",
        "{{ lookup('pipe', 'id') }}",
        "$(id)",
        "*",
        " alice",
        "älice",
        "alice\x00",
        "-alice",
    ],
)
def test_hostile_user_names_are_refused(user: str) -> None:
    with pytest.raises(RefusedUser) as refused:
        checked_user(user)
    assert refused.value.who_can_fix is WhoCanFix.USER
    assert not user or user not in refused.value.reason


@settings(max_examples=120)
@given(user=st.text(max_size=80) | st.from_regex(r"(system|caravan):.*"))
def test_what_passes_is_short_plain_and_nobodys_component(user: str) -> None:
    try:
        checked_user(user)
    except RefusedUser:
        return
    assert len(user) <= 64
    assert user.isascii()
    assert user.isprintable()
    assert not user.lower().startswith(("system:", "caravan:"))
