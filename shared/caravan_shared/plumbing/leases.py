"""Who works on which key: leases in the store, fenced, so that a worker that was away too long can write nothing.

A lease's epoch rises whenever it changes hands. Every transaction of a turn first touches the lease row under its own
holder and epoch; if that row is no longer so, the whole transaction is refused. The row lock this takes also keeps a
take-over from slipping in before the commit.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.errors import StaleLease
from caravan_shared.plumbing.tables import LEASES


@dataclass(frozen=True)
class Lease:
    """The right to work on `key` until `until`, as `holder` under `epoch`."""

    key: str
    holder: str
    epoch: int
    until: datetime


async def acquire(tx: AsyncSession, key: str, holder: str, now: datetime, lasts: timedelta) -> Lease | None:
    """Take the lease if it is free, expired, or left behind by an earlier life of this replica; None otherwise.

    `holder` is `<replica>/<boot>`: the same replica under another boot is its own dead predecessor.
    """
    row = (await tx.execute(select(LEASES).where(LEASES.c.key == key).with_for_update())).first()
    if row is None:
        return await _first(tx, Lease(key, holder, 1, now + lasts))
    mine = row.holder.rpartition("/")[0] == holder.rpartition("/")[0]
    if not mine and row.until > _as_stored(now, row.until):
        return None
    lease = Lease(key, holder, row.epoch + 1, now + lasts)
    result = await tx.execute(
        update(LEASES)
        .where(LEASES.c.key == key, LEASES.c.epoch == row.epoch)
        .values(holder=lease.holder, epoch=lease.epoch, until=lease.until)
    )
    return lease if _rows(result) else None


async def fence(tx: AsyncSession, lease: Lease, now: datetime, lasts: timedelta) -> None:
    """Renew the lease within `tx`, or refuse the transaction with `StaleLease`."""
    result = await tx.execute(
        update(LEASES)
        .where(LEASES.c.key == lease.key, LEASES.c.holder == lease.holder, LEASES.c.epoch == lease.epoch)
        .values(until=now + lasts)
    )
    if not _rows(result):
        raise StaleLease(lease.key, lease.epoch)


async def release(tx: AsyncSession, lease: Lease, now: datetime) -> None:
    """Let others have the key at once."""
    await tx.execute(
        update(LEASES)
        .where(LEASES.c.key == lease.key, LEASES.c.holder == lease.holder, LEASES.c.epoch == lease.epoch)
        .values(until=now)
    )


async def _first(tx: AsyncSession, lease: Lease) -> Lease | None:
    try:
        async with tx.begin_nested():
            await tx.execute(
                insert(LEASES).values(key=lease.key, holder=lease.holder, epoch=lease.epoch, until=lease.until)
            )
    except IntegrityError:
        return None
    return lease


def _rows(result: object) -> int:
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def _as_stored(now: datetime, stored: datetime) -> datetime:
    return now if stored.tzinfo else now.replace(tzinfo=None)
