"""What was made of things and is at hand."""

from uuid import UUID

from caravan_api.latest import Latest

A, B, C = (UUID(int=number) for number in range(3))


def test_what_was_made_is_at_hand_for_the_state_that_the_thing_was_in_alone() -> None:
    latest = Latest[str](2)
    assert latest.keep(A, (1, 1), "old") == "old"
    assert latest.of(A, (1, 1)) == "old"
    assert latest.of(A, (1, 2)) is None
    latest.keep(A, (1, 2), "new")
    assert latest.of(A, (1, 1)) is None
    assert latest.of(A, (1, 2)) == "new"


def test_what_was_not_read_for_longest_makes_room() -> None:
    latest = Latest[str](2)
    latest.keep(A, 1, "a")
    latest.keep(B, 1, "b")
    assert latest.of(A, 1) == "a"
    latest.keep(C, 1, "c")
    assert [latest.of(each, 1) for each in (A, B, C)] == ["a", None, "c"]


def test_a_thing_that_changes_takes_no_room_from_others() -> None:
    latest = Latest[str](2)
    latest.keep(A, 1, "a")
    for state in range(5):
        latest.keep(B, state, "b")
    assert latest.of(A, 1) == "a"
