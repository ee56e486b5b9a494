"""Have what is asked while one transaction runs served by the next one together: many askers, one transaction.

Whoever finds nobody at work is served at once, so nobody waits for others to come. The more is asked at once, the more
askers share what a transaction costs. Each gets an answer of its own when that is committed; one that is refused spoils
nothing for the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from caravan_shared.plumbing.errors import CaravanError, StoreAway

_LARGEST = 64  # askers at once: a longer transaction would be felt by all who wait for the rows that it locks

A = TypeVar("A")
R = TypeVar("R")

Serve = Callable[[Sequence[A]], Awaitable[Sequence[R | CaravanError]]]
"""Serves all in one transaction: each one's answer, or why it is refused, in their order, once that is committed."""


@dataclass(eq=False)
class _Asked(Generic[A, R]):
    what: A
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, answer: R | BaseException) -> None:
        """Answer, unless nobody waits for that any more."""
        if self.answer.done():
            return
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Gathering(Generic[A, R]):
    """Gathers askers for `serve`, in the order in which they come. Two with the same key are never served together."""

    def __init__(self, serve: Serve[A, R], key_of: Callable[[A], Hashable | None]) -> None:
        self._serve_all, self._key_of = serve, key_of
        self._waiting: deque[_Asked[A, R]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, what: A) -> R:
        """The answer to this one. Raises what it is refused with, `StoreAway` for all who were served together."""
        asked: _Asked[A, R] = _Asked(what)
        self._waiting.append(asked)
        if self._working is None:
            # In nobody's context: it does not work for the one alone who happens to set it off.
            self._working = asyncio.create_task(self._work(), context=Context())
        return await asked.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._serve(self._next())
        finally:
            self._working = None

    def _next(self) -> list[_Asked[A, R]]:
        """Who is served together now; whoever has given up is left out."""
        together: list[_Asked[A, R]] = []
        later: list[_Asked[A, R]] = []
        keys: set[Hashable] = set()
        while self._waiting and len(together) < _LARGEST:
            asked = self._waiting.popleft()
            key = self._key_of(asked.what)
            if asked.answer.done():
                continue
            if key is not None and key in keys:
                later.append(asked)
                continue
            keys.add(key)
            together.append(asked)
        self._waiting.extendleft(reversed(later))
        return together

    async def _serve(self, together: Sequence[_Asked[A, R]]) -> None:
        answers: Sequence[R | BaseException]
        try:
            answers = await self._serve_all([asked.what for asked in together]) if together else ()
        except StoreAway as error:
            answers = [error] * len(together)
        except Exception as error:
            if len(together) > 1:
                for asked in together:  # nothing is committed: the others are served without whoever is to blame
                    await self._serve([asked])
                return
            answers = [error]
        for asked, answer in zip(together, answers, strict=True):
            asked.settle(answer)
