"""Who works on which key: leases in the store, fenced, so that a worker that was away too long can write nothing.

A lease's epoch rises whenever it changes hands. Every transaction of a turn first touches the lease row under its own
holder and epoch; if that row is no longer so, the whole transaction is refused. The row lock this takes also keeps a
take-over from slipping in before the commit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import or_, update
from sqlalchemy.engine import CursorResult
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.errors import StaleLease
from caravan_shared.plumbing.tables import LEASES


@dataclass(frozen=True)
class Lease:
    """The right to work on `key` until `until`, as `holder` under `epoch`."""

    key: str
    holder: str
    epoch: int
    until: datetime


def new_holder(instance: str) -> str:
    """`<replica>/<boot>`, for this life of a replica."""
    return f"{instance}/{uuid4().hex[:8]}"


async def acquire(tx: AsyncSession, key: str, holder: str, now: datetime, lasts: timedelta) -> Lease | None:
    """Take the lease if it is free, expired, or left behind by an earlier life of this replica; None otherwise.

    `holder` is of `new_holder`: the same replica under another boot is its own dead predecessor.
    """
    until = now + lasts
    replica = holder.rpartition("/")[0]
    statement = insert_into(tx, LEASES).values(key=key, holder=holder, epoch=1, until=until)
    free = or_(LEASES.c.until <= now, LEASES.c.holder.startswith(f"{replica}/", autoescape=True))
    result = await tx.exec(
        statement.on_conflict_do_update(
            index_elements=[LEASES.c.key],
            set_={"holder": holder, "epoch": LEASES.c.epoch + 1, "until": until},
            where=free,
        ).returning(LEASES.c.epoch)
    )
    row = result.first()
    return Lease(key, holder, row.epoch, until) if row else None


async def fence(tx: AsyncSession, lease: Lease, now: datetime, lasts: timedelta) -> None:
    """Renew the lease within `tx`, or refuse the transaction with `StaleLease`."""
    result = await tx.exec(
        update(LEASES)
        .where(LEASES.c.key == lease.key, LEASES.c.holder == lease.holder, LEASES.c.epoch == lease.epoch)
        .values(until=now + lasts)
    )
    if not _rows(result):
        raise StaleLease(lease.key, lease.epoch)


async def release(tx: AsyncSession, lease: Lease, now: datetime) -> None:
    """Let others have the key at once."""
    await tx.exec(
        update(LEASES)
        .where(LEASES.c.key == lease.key, LEASES.c.holder == lease.holder, LEASES.c.epoch == lease.epoch)
        .values(until=now)
    )


def _rows(result: object) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)
