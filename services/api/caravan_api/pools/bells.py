"""Wake those who wait for a lease of one pool when something of that pool has changed, and nobody else."""

import asyncio
from uuid import UUID


class Bells:
    """A bell for each pool: set when it rings; then the pool has another one."""

    def __init__(self) -> None:
        self._bells: dict[UUID, asyncio.Event] = {}

    def of(self, pool_id: UUID) -> asyncio.Event:
        """The pool's bell. Take it before you look: what is committed after your look rings it."""
        return self._bells.setdefault(pool_id, asyncio.Event())

    def ring(self, pool_id: UUID) -> None:
        """Something of the pool was committed."""
        if bell := self._bells.pop(pool_id, None):
            bell.set()
