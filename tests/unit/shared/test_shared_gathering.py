"""Who asks while others are served is served next, together with all who do, and answered for itself."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest

from caravan_shared.plumbing.errors import CaravanError, StoreAway
from caravan_shared.plumbing.gathering import Gathering

_WHOSE: ContextVar[str] = ContextVar("whose", default="nobody's")


class Refused(CaravanError):
    """One is refused."""


@dataclass
class Server:
    """Serves words: answers each with itself in capitals, when it may."""

    served: list[list[str]] = field(default_factory=list)
    contexts: set[str] = field(default_factory=set)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    async def serve(self, words: Sequence[str]) -> Sequence[str | CaravanError]:
        """All of them, or none where one is `poison`."""
        self.served.append([*words])
        self.contexts.add(_WHOSE.get())
        await self.may.wait()
        if self.away:
            raise StoreAway("the store is away")
        if "poison" in words:
            raise ZeroDivisionError
        return [Refused(word) if word.startswith("bad") else word.upper() for word in words]


def _ask(gathering: Gathering[str, str], *words: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(gathering.ask(word)) for word in words]


async def _outcomes(asking: Sequence[asyncio.Task[str]]) -> list[str | BaseException]:
    return await asyncio.gather(*asking, return_exceptions=True)


def _gathering(server: Server) -> Gathering[str, str]:
    return Gathering(server.serve, lambda word: word if word.startswith("key") else None)


async def _until_served(server: Server, times: int) -> None:
    while len(server.served) < times:
        await asyncio.sleep(0)


async def test_those_who_come_while_one_is_served_are_served_together_in_their_order() -> None:
    server = Server()
    gathering = _gathering(server)
    first = _ask(gathering, "a")
    await _until_served(server, 1)
    others = _ask(gathering, "b", "c", "d")
    await asyncio.sleep(0)
    server.may.set()
    assert await _outcomes([*first, *others]) == ["A", "B", "C", "D"]
    assert server.served == [["a"], ["b", "c", "d"]]


async def test_nobody_is_answered_before_all_are_served() -> None:
    server = Server()
    asking = _ask(_gathering(server), "a", "b")
    await _until_served(server, 1)
    assert not any(each.done() for each in asking)
    server.may.set()
    await _outcomes(asking)


async def test_one_that_is_refused_spoils_nothing_for_the_others() -> None:
    server = Server()
    server.may.set()
    a, bad, b = await _outcomes(_ask(_gathering(server), "a", "bad", "b"))
    assert (a, b, type(bad)) == ("A", "B", Refused)
    assert len(server.served) == 1


async def test_where_one_breaks_the_transaction_the_others_are_served_without_it() -> None:
    server = Server()
    server.may.set()
    a, poison, b = await _outcomes(_ask(_gathering(server), "a", "poison", "b"))
    assert (a, b, type(poison)) == ("A", "B", ZeroDivisionError)


async def test_a_store_that_is_away_is_told_to_all_and_whoever_comes_later_is_served() -> None:
    server = Server(away=True)
    server.may.set()
    gathering = _gathering(server)
    assert [type(each) for each in await _outcomes(_ask(gathering, "a", "b"))] == [StoreAway, StoreAway]
    assert server.served == [["a", "b"]], "nothing is tried again behind the askers' backs"
    server.away = False
    assert await gathering.ask("c") == "C"


async def test_two_with_the_same_key_are_served_one_after_the_other() -> None:
    server = Server()
    server.may.set()
    assert await _outcomes(_ask(_gathering(server), "key", "a", "key", "b")) == ["KEY", "A", "KEY", "B"]
    assert server.served == [["key", "a", "b"], ["key"]]


async def test_whoever_gave_up_before_is_not_served() -> None:
    server = Server()
    gathering = _gathering(server)
    first = _ask(gathering, "a")
    await _until_served(server, 1)
    gone, stays = _ask(gathering, "gone", "stays")
    await asyncio.sleep(0)
    gone.cancel()
    server.may.set()
    assert await _outcomes([*first, stays]) == ["A", "STAYS"]
    assert server.served == [["a"], ["stays"]]


async def test_many_go_in_several_transactions_and_all_are_answered() -> None:
    server = Server()
    server.may.set()
    words = [f"w{number}" for number in range(200)]
    assert await _outcomes(_ask(_gathering(server), *words)) == [word.upper() for word in words]
    assert [word for together in server.served for word in together] == words
    assert 1 < len(server.served) < 10


async def test_it_works_on_nobodys_behalf() -> None:
    server = Server()
    server.may.set()
    token = _WHOSE.set("the first one's")
    try:
        await _gathering(server).ask("a")
    finally:
        _WHOSE.reset(token)
    assert server.contexts == {"nobody's"}


async def test_an_error_of_one_who_gave_up_meanwhile_bothers_nobody() -> None:
    server = Server()
    gathering = _gathering(server)
    bad, good = _ask(gathering, "bad", "good")
    await _until_served(server, 1)
    bad.cancel()
    server.may.set()
    assert await good == "GOOD"
    with pytest.raises(asyncio.CancelledError):
        await bad
