"""What was made of each thing last, kept with the state that the thing was in: made again only once that is another."""

from typing import Generic, TypeVar
from uuid import UUID

_Made = TypeVar("_Made")


class Latest(Generic[_Made]):
    """Of `most` things. What was not asked for longest makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: dict[UUID, tuple[object, _Made]] = {}

    def of(self, thing: UUID, state: object) -> _Made | None:
        """What was made of it in that state; None if that is not at hand."""
        found = self._made.get(thing)
        if found is None or found[0] != state:
            return None
        self._made[thing] = self._made.pop(thing)  # the last one now: a dict is in the order of insertion
        return found[1]

    def keep(self, thing: UUID, state: object, made: _Made) -> _Made:
        """Have it at hand from now on."""
        self._made.pop(thing, None)
        self._made[thing] = state, made
        if len(self._made) > self._most:
            del self._made[next(iter(self._made))]
        return made
