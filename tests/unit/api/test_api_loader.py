"""Those who ask at the same time are answered by one question, and nobody by one that began before they asked."""

import asyncio
from collections.abc import Mapping, Set

import pytest

from caravan_api.loader import Loader, padded
from caravan_shared.plumbing.errors import StoreAway


class Store:
    """Numbers by name, and the questions about them; it answers when it is let."""

    def __init__(self) -> None:
        self.holds = {"a": 1, "b": 2}
        self.asked: list[set[str]] = []
        self.answers = asyncio.Event()

    async def ask(self, names: Set[str]) -> Mapping[str, int]:
        """What it holds of them at the beginning of the question."""
        self.asked.append(set(names))
        found = {name: self.holds[name] for name in names if name in self.holds}
        await self.answers.wait()
        return found


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_those_who_ask_at_the_same_time_are_answered_by_one_question() -> None:
    store = Store()
    store.answers.set()
    loader = Loader(store.ask)
    assert await asyncio.gather(*map(loader.load, ["a", "b", "a", "missing"])) == [1, 2, 1, None]
    assert store.asked == [{"a", "b", "missing"}]


async def test_nobody_is_told_what_was_so_before_they_asked() -> None:
    store = Store()
    loader = Loader(store.ask)
    before = asyncio.create_task(loader.load("a"))
    await _turns()
    store.holds["a"] = 3
    after = [asyncio.create_task(loader.load("a")) for _ in range(3)]
    await _turns()
    store.holds["a"] = 4
    last = [asyncio.create_task(loader.load("a")) for _ in range(3)]
    await _turns()
    assert len(store.asked) == 2, "a third one waits until one of them is answered"
    store.answers.set()
    assert await before == 1
    assert await asyncio.gather(*after) == [3, 3, 3]
    assert await asyncio.gather(*last) == [4, 4, 4]
    assert len(store.asked) == 3


async def test_a_question_that_fails_fails_for_all_who_asked_it_and_for_nobody_else() -> None:
    failures = [ConnectionError("gone")]

    async def ask(names: Set[str]) -> Mapping[str, int]:
        if failures:
            raise failures.pop()
        return dict.fromkeys(names, 1)

    loader = Loader(ask)
    answers = await asyncio.gather(*map(loader.load, "ab"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError, ConnectionError]
    assert await loader.load("a") == 1


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    store = Store()
    loader = Loader(store.ask)
    impatient, patient = (asyncio.create_task(loader.load("a")) for _ in range(2))
    await _turns()
    impatient.cancel()
    store.answers.set()
    assert await patient == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_a_store_that_never_answers_is_away_for_who_asked_and_is_asked_again_for_who_comes_later() -> None:
    store = Store()
    loader = Loader(store.ask, answered_within_s=0.01)
    askers = []
    for _ in range(3):  # the last of them never has its turn
        askers.append(asyncio.create_task(loader.load("a")))
        await _turns()
    assert {type(answer) for answer in await asyncio.gather(*askers, return_exceptions=True)} == {StoreAway}
    store.answers.set()
    assert await loader.load("b") == 2


@pytest.mark.parametrize(("count", "length"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (33, 64)])
def test_few_lengths_are_asked_for(count: int, length: int) -> None:
    values = set(range(count))
    assert (len(padded(values)), set(padded(values))) == (length, values)
