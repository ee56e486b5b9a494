"""In which team somebody acts, what they may do there, and how members may be called."""

import pytest

from caravan_api.access import Known, Role
from caravan_api.teams.names import is_named_in, is_person, user_of
from caravan_api.teams.store import MemberKind

VIEWER, OWNER, ADMIN = Role.VIEWER, Role.OWNER, Role.ADMIN


@pytest.mark.parametrize(
    ("roles", "named", "team", "role"),
    [
        ({"a": VIEWER}, None, "a", VIEWER),
        ({"a": VIEWER}, "a", "a", VIEWER),
        ({"a": VIEWER, "b": OWNER}, "b", "b", OWNER),
        ({"a": VIEWER, "b": OWNER}, "a", "a", VIEWER),
        # A team that is not theirs: they stay in one that is, with no more than they may there.
        ({"a": VIEWER}, "c", "a", VIEWER),
        ({"b": OWNER, "a": VIEWER}, "c", "a", VIEWER),
        # An admin anywhere is one everywhere.
        ({"a": VIEWER, "b": ADMIN}, None, "b", ADMIN),
        ({"a": VIEWER, "b": ADMIN}, "c", "b", ADMIN),
    ],
)
def test_somebody_acts_in_the_team_that_is_named_or_in_their_only_one(
    roles: dict[str, Role], named: str | None, team: str, role: Role
) -> None:
    caller = Known("alice", roles).within(named)
    assert caller
    assert (caller.team, caller.role) == (team, role)


@pytest.mark.parametrize("roles", [{}, {"a": VIEWER, "b": OWNER}])
def test_without_one_team_it_is_unclear(roles: dict[str, Role]) -> None:
    assert Known("alice", roles).within(None) is None


def test_who_belongs_to_no_team_acts_in_none() -> None:
    assert Known("alice", {}).within("a") is None


def test_only_admins_see_other_teams() -> None:
    owner, admin = Known("o", {"a": OWNER}).within(None), Known("r", {"a": ADMIN}).within(None)
    assert owner
    assert admin
    assert (owner.sees("a"), owner.sees("b"), admin.sees("b")) == (True, False, True)


@pytest.mark.parametrize(
    ("kind", "name", "user"),
    [
        (MemberKind.USER, "alice@example.org", "alice@example.org"),
        (MemberKind.USER, "system:admin", None),
        (MemberKind.USER, "service:a/ci", None),
        (MemberKind.USER, "", None),
        (MemberKind.GROUP, "/platform/dev team", "/platform/dev team"),
        (MemberKind.GROUP, "a\nb", None),
        (MemberKind.SERVICE, "ci", "service:a/ci"),
        (MemberKind.SERVICE, "Ci", None),
        (MemberKind.SERVICE, "../b/ci", None),
        (MemberKind.SERVICE, "a" * 24, None),
    ],
)
def test_a_member_is_called_as_its_kind_allows(kind: MemberKind, name: str, user: str | None) -> None:
    assert user_of(kind, "a", name) == user


def test_the_longest_service_account_of_the_longest_team_fits_a_certificate() -> None:
    user = user_of(MemberKind.SERVICE, "t" * 32, "s" * 23)
    assert user
    assert len(user) == 64


def test_nobody_is_called_like_another_teams_service_account() -> None:
    assert not is_person("service:b/ci")
    assert is_named_in("service:a/ci", "a")
    assert not is_named_in("service:b/ci", "a")
    assert not is_named_in("service:a/", "a")
    assert is_named_in("alice", "a")
