"""Which texts are at hand."""

from uuid import UUID

from caravan_api.written import Texts

A, B, C = (UUID(int=number) for number in range(3))


def test_a_text_is_at_hand_for_the_state_that_it_tells_of_alone() -> None:
    texts = Texts(2)
    assert texts.keep(A, (1, 1), "old") == "old"
    assert texts.of(A, (1, 1)) == "old"
    assert texts.of(A, (1, 2)) is None
    texts.keep(A, (1, 2), "new")
    assert texts.of(A, (1, 1)) is None
    assert texts.of(A, (1, 2)) == "new"


def test_what_was_not_read_for_longest_makes_room() -> None:
    texts = Texts(2)
    texts.keep(A, 1, "a")
    texts.keep(B, 1, "b")
    assert texts.of(A, 1) == "a"
    texts.keep(C, 1, "c")
    assert [texts.of(each, 1) for each in (A, B, C)] == ["a", None, "c"]


def test_a_thing_that_changes_takes_no_room_from_others() -> None:
    texts = Texts(2)
    texts.keep(A, 1, "a")
    for state in range(5):
        texts.keep(B, state, "b")
    assert texts.of(A, 1) == "a"
