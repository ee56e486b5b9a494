"""Tell a store that cannot be worked with right now from a fault of whoever asked: the first is `StoreAway`, a `Retry`.

So a request is answered 503, an event is put off and never becomes a dead letter for that, and a loop goes on later.
What a statement itself did wrong stays what it was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from caravan_shared.plumbing.errors import STORE_BACK_IN_S, StoreAway
from caravan_shared.plumbing.log import get_logger

T = TypeVar("T")

log = get_logger(__name__)

# SQLSTATE, PostgreSQL's appendix A: connection, rolled back by the server, resources, shut down, a disk's error.
_AWAY_CLASSES = ("08", "40", "53", "57P", "58")
# SQLite's primary result codes: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
_AWAY_CODES = frozenset({5, 6, 8, 10, 13, 14})
_PRIMARY_CODE = 0xFF


@contextmanager
def told_as_away() -> Iterator[None]:
    """Have what is done with a store within raise `StoreAway` where the store is to blame."""
    try:
        yield
    except NoConnectionFree as error:
        raise StoreAway("all connections to the store are in use") from error
    except DBAPIError as error:
        if to_blame := next(filter(_is_away, _behind(error)), None):
            raise StoreAway(f"the store cannot be worked with right now: {to_blame.orig}") from error
        raise


async def once_back(work: Callable[[], Awaitable[T]], waits: str) -> T:
    """Do `work`, again and again while the store is away. `waits` tells the log what that holds up."""
    while True:
        try:
            return await work()
        except* StoreAway as errors:  # a work of several tasks raises a group
            log.warning("waiting for the store", waits=waits, reason=str(errors.exceptions[0]), after_s=STORE_BACK_IN_S)
        await asyncio.sleep(STORE_BACK_IN_S)


def _behind(error: BaseException | None) -> Iterator[DBAPIError]:
    """The error and those that it came after: undoing what failed may fail for the same reason, with other words."""
    while error:
        if isinstance(error, DBAPIError):
            yield error
        error = error.__context__


def _is_away(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return (
        error.connection_invalidated
        or state.startswith(_AWAY_CLASSES)
        or (code is not None and code & _PRIMARY_CODE in _AWAY_CODES)
    )
