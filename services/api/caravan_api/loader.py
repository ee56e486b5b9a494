"""Ask the store once for all who want to know something at the same time: a data loader, as GraphQL's servers call it.

A question costs a round trip and most of a read's CPU, whether it is about one thing or about thirty. So those who are
about to ask have it asked together. Nothing is kept: each question begins after all who wait for its answer have come,
so everybody is told what was committed before they asked, by whichever replica.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Generic, TypeVar

from caravan_shared.plumbing.errors import StoreAway

_AT_ONCE = 2
"""Questions under way; who comes meanwhile waits for the next one. Two, as a connection that is dead holds one up."""
_ANSWERED_WITHIN_S = 30.0  # as long as a session waits for a connection

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


class Loader(Generic[_Key, _Found]):
    """Tells what there is of a key, by a question about many."""

    def __init__(
        self,
        ask: Callable[[Set[_Key]], Awaitable[Mapping[_Key, _Found]]],
        answered_within_s: float = _ANSWERED_WITHIN_S,
    ) -> None:
        self._ask, self._within_s = ask, answered_within_s
        self._under_way = asyncio.Semaphore(_AT_ONCE)
        self._wanted: set[_Key] = set()
        self._next: asyncio.Task[Mapping[_Key, _Found]] | None = None

    async def load(self, key: _Key) -> _Found | None:
        """What there is of it now; None: nothing.

        Raises what the question raised, as for all who asked with it; `StoreAway` for one that is not answered in time.
        """
        self._wanted.add(key)
        if self._next is None or self._next.done():  # done: it ended before its turn came
            self._next = asyncio.create_task(self._question())
        return (await asyncio.shield(self._next)).get(key)

    async def _question(self) -> Mapping[_Key, _Found]:
        try:
            async with asyncio.timeout(self._within_s), self._under_way:
                wanted, self._wanted, self._next = self._wanted, set(), None
                return await self._ask(wanted)
        except TimeoutError as error:
            raise StoreAway(f"the store has not answered within {self._within_s:g} s") from error


def padded(values: Set[_Key]) -> Sequence[_Key]:
    """As many values as a power of two, by naming one again: for an IN, of which each length is prepared by itself."""
    listed = [*values]
    return [*listed, *listed[-1:] * ((1 << (len(listed) - 1).bit_length()) - len(listed))] if listed else listed
