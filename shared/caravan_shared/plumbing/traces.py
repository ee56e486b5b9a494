"""Which trace the work on a key belongs to: the newest request's, kept in the store.

Work is level-triggered: a turn knows its key, not what woke it. And a service that was killed knows nothing but its
store. So whoever takes in a request, or hears of it, keeps its trace beside the key in the same transaction, and every
turn looks there. What is done hours after a request is no part of its trace.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing import tracing
from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.tables import TRACES
from caravan_shared.plumbing.tracing import Carrier

CONTINUED_FOR = timedelta(hours=6)
"""Longer than any create takes; and a trace of days could not be looked at."""
KEPT_FOR = timedelta(days=30)
"""As long as a trace store may keep the traces themselves."""

_IDS_OF = select(TRACES.c.key, TRACES.c.trace_id).where(TRACES.c.key.in_(bindparam("keys", expanding=True)))
"""Built once, which takes longer than asking it."""


async def keep(tx: AsyncSession, key: str) -> None:
    """Make the present trace that of `key`, unless it is already, or that of a newer request is."""
    carrier = tracing.current()
    if not carrier:
        return
    began_at, trace_id = tracing.began_at(carrier), tracing.trace_id_of(carrier)
    values = {
        "trace_id": trace_id,
        "traceparent": carrier[tracing.TRACEPARENT],
        "tracestate": carrier[tracing.TRACESTATE],
        "began_at": began_at,
    }
    statement = insert_into(tx, TRACES).values(key=key, **values)
    newer = and_(TRACES.c.began_at < began_at, TRACES.c.trace_id != trace_id)
    await tx.exec(statement.on_conflict_do_update(index_elements=[TRACES.c.key], set_=values, where=newer))


async def of(session: AsyncSession, keys: Collection[str], now: datetime) -> dict[str, Carrier]:
    """The context of each key's trace, of those that have one to be continued."""
    fresh = select(TRACES).where(TRACES.c.key.in_(keys), TRACES.c.began_at > now - CONTINUED_FOR)
    found = await (await session.connection()).execute(fresh)
    return {row.key: {tracing.TRACEPARENT: row.traceparent, tracing.TRACESTATE: row.tracestate} for row in found}


async def ids_of(session: AsyncSession, keys: Collection[str]) -> dict[str, str]:
    """The id of each key's trace, however old, of those that have one."""
    found = await (await session.connection()).execute(_IDS_OF, {"keys": keys})
    return {row.key: row.trace_id for row in found}


async def prune(tx: AsyncSession, now: datetime) -> None:
    """Forget what nobody can look up any more."""
    await tx.exec(delete(TRACES).where(TRACES.c.began_at < now - KEPT_FOR))
