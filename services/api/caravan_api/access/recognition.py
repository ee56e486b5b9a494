"""Recognise bearer tokens, and make them.

What a token opens is what its user may do in the team now, or less: it has a role of its own, and neither survives
the membership.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access.roles import Known, Role, Scope
from caravan_api.oidc.issuers import Issuers
from caravan_api.store import Token
from caravan_api.teams.directory import roles_of
from caravan_api.teams.names import is_person
from caravan_api.teams.store import Member, MemberKind
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_PREFIX = "caravan_"
_USE_NOTED_EVERY = timedelta(minutes=1)
FIRST_TEAM = "default"
FIRST_ADMIN = "admin"


class Access:
    """Makes tokens, and recognises them and those of `issuers`. `first_admin` is in the settings and never stored."""

    def __init__(self, db: Database, clock: Clock, issuers: Issuers, first_admin: str | None) -> None:
        self._db, self._clock, self._issuers = db, clock, issuers
        self._first_admin = _sha256(first_admin) if first_admin else ""

    async def issue(
        self, tx: AsyncSession, member: Member, role: Role, lasts: timedelta | None, scopes: Sequence[Scope] = ()
    ) -> tuple[Token, str]:
        """Make a token for a member, void after `lasts` if that is given; its text is known only now."""
        text = f"{_PREFIX}{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        token = Token(
            sha256=_sha256(text),
            id=uuid4(),
            user=member.user,
            team=member.team,
            role=role.value,
            scopes=[scope.value for scope in scopes],
            created_at=now,
            expires_at=now + lasts if lasts else None,
        )
        tx.add(token)
        return token, text

    async def recognise(self, bearer: str) -> Known | None:
        """Whose token this is; None for one that was never issued, has expired or is revoked.

        Raises `Retry` while an issuer that must be asked is away.
        """
        sha256 = _sha256(bearer)
        if hmac.compare_digest(sha256, self._first_admin):
            return Known(FIRST_ADMIN, {FIRST_TEAM: Role.ADMIN})
        return await (self._stored(sha256) if bearer.startswith(_PREFIX) else self._vouched_for(bearer))

    async def _vouched_for(self, bearer: str) -> Known | None:
        """Who logged in with an issuer; what they may do is in the members' table, not in their token."""
        identity = await self._issuers.verify(bearer)
        if identity is None or not is_person(identity.user):
            return None
        async with self._db.reading() as session:
            return Known(identity.user, await roles_of(session, identity.user, identity.groups))

    async def _stored(self, sha256: str) -> Known | None:
        statement = (
            select(Token, Member.role)
            .join(Member, (col(Member.team) == Token.team) & (col(Member.user) == Token.user))
            .where(Token.sha256 == sha256, col(Token.revoked_at).is_(None), Member.kind != MemberKind.GROUP)
        )
        async with self._db.reading() as session:
            found = (await session.exec(statement)).one_or_none()
        return await self._known(*found) if found else None

    async def _known(self, token: Token, membership: str) -> Known | None:
        now = self._clock.now()
        if token.expires_at and token.expires_at <= now:
            return None
        if token.last_used_at is None or now - token.last_used_at >= _USE_NOTED_EVERY:
            async with self._db.transaction() as tx:
                await tx.exec(update(Token).where(col(Token.sha256) == token.sha256).values(last_used_at=now))
        role = min(Role(token.role), Role(membership), key=list(Role).index)
        return Known(token.user, {token.team: role}, frozenset(map(Scope, token.scopes)))


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
