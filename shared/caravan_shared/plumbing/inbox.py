"""Delivered twice, done once: remember the ids of handled events in the same transaction as their effect."""

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.tables import INBOX

KEPT_FOR = timedelta(days=7)
"""Longer than any stream keeps an event, so that a late double is still known."""


async def first_time(tx: AsyncSession, event_id: str, now: datetime) -> bool:
    """Record the id; False if it was there already."""
    statement = insert_into(tx, INBOX).values(event_id=event_id, heard_at=now)
    result = await tx.exec(statement.on_conflict_do_nothing().returning(INBOX.c.event_id))
    return result.first() is not None


async def prune(tx: AsyncSession, now: datetime) -> None:
    """Forget ids that can no longer come again."""
    await tx.exec(delete(INBOX).where(INBOX.c.heard_at < now - KEPT_FOR))
