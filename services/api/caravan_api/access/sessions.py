"""Sessions of browsers: a cookie's secret that stands for somebody until they log out, or for so long.

A session is opened for whoever a bearer token names. What the user may do is asked anew with each request, so that a
session survives neither its token nor a membership.
"""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access.recognition import Access, sha256_of
from caravan_api.access.roles import Known
from caravan_api.store import WebSession
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database


class Sessions:
    """Opens sessions that last so long, recognises and closes them."""

    def __init__(self, db: Database, clock: Clock, access: Access, lasts: timedelta) -> None:
        self._db, self._clock, self._access, self.lasts = db, clock, access, lasts

    async def open(self, bearer: str) -> str | None:
        """The secret of a new session for whoever this token names; None for nobody. Raises `Retry` as `recognise`."""
        known = await self._access.recognise(bearer)
        if known is None:
            return None
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        groups = sorted(known.standing.groups) if known.standing else []
        async with self._db.transaction() as tx:
            tx.add(
                WebSession(
                    sha256=sha256_of(secret),
                    user=known.user,
                    token_sha256=sha256_of(bearer) if self._access.is_ours(bearer) else None,
                    groups=groups,
                    opened_at=now,
                    expires_at=now + self.lasts,
                )
            )
        return secret

    async def recognise(self, secret: str) -> Known | None:
        """Whose session this is; None for one that was never opened, is closed or over."""
        async with self._db.reading() as session:
            found = await session.get(WebSession, sha256_of(secret))
        if found is None or found.expires_at <= self._clock.now():
            return None
        if found.token_sha256:
            return await self._access.holder_of(found.token_sha256)
        return await self._access.vouched_for(found.user, frozenset(found.groups))

    async def close(self, secret: str) -> None:
        """End a session; fine for one that is over already."""
        async with self._db.transaction() as tx:
            await tx.exec(delete(WebSession).where(col(WebSession.sha256) == sha256_of(secret)))


async def forget_sessions(tx: AsyncSession, now: datetime) -> None:
    """Remove those that are over."""
    await tx.exec(delete(WebSession).where(col(WebSession.expires_at) <= now))
