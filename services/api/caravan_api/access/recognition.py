"""Recognise bearer tokens, and make them.

What a token opens is what its user may do in the team now, or less: it has a role of its own, and neither survives
the membership.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, bindparam, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from caravan_api.access.roles import Caller, Known, Role, Scope, Standing
from caravan_api.loader import Loader, padded
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
        self._first_admin = sha256_of(first_admin) if first_admin else ""
        self._tokens = Loader[str, tuple[Token, str]](self._valid_now)

    async def issue(
        self, tx: AsyncSession, member: Member, role: Role, lasts: timedelta | None, scopes: Sequence[Scope] = ()
    ) -> tuple[Token, str]:
        """Make a token for a member, void after `lasts` if that is given; its text is known only now."""
        text = f"{_PREFIX}{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        token = Token(
            sha256=sha256_of(text),
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
        if self.is_ours(bearer):
            return await self.holder_of(sha256_of(bearer))
        identity = await self._issuers.verify(bearer)
        return await self.vouched_for(identity.user, identity.groups) if identity else None

    def is_ours(self, bearer: str) -> bool:
        """True for what can only be a token that was made here; what else there is, an issuer made."""
        return bearer.startswith(_PREFIX) or self._is_first_admin(sha256_of(bearer))

    async def holder_of(self, token_sha256: str) -> Known | None:
        """Whom the token of ours with this SHA-256 names now; None if it is not valid (any more)."""
        if self._is_first_admin(token_sha256):
            return Known(FIRST_ADMIN, {FIRST_TEAM: Role.ADMIN})
        return await self._stored(token_sha256)

    async def still_knows(self, caller: Caller) -> bool:
        """Whether the caller may do as much as before: what takes a while must not outlive a token or a membership."""
        standing = caller.standing
        if standing is None:
            return True
        async with self._db.reading() as session:
            if standing.token_id:
                return bool(await valid_tokens(session, self._clock.now(), Token.id == standing.token_id))
            roles = await roles_of(session, caller.user, standing.groups)
        return any(team == caller.team and role.includes(caller.role) for team, role in roles.items())

    async def vouched_for(self, user: str, groups: frozenset[str]) -> Known | None:
        """Who logged in with an issuer; what they may do is in the members' table, not in their token."""
        if not is_person(user):
            return None
        async with self._db.reading() as session:
            roles = await roles_of(session, user, groups)
        return Known(user, roles, standing=Standing(groups=groups))

    def _is_first_admin(self, token_sha256: str) -> bool:
        return hmac.compare_digest(token_sha256, self._first_admin)

    async def _stored(self, sha256: str) -> Known | None:
        found = await self._tokens.load(sha256)
        if found is None:
            return None
        (token, membership), now = found, self._clock.now()
        if token.last_used_at is None or now - token.last_used_at >= _USE_NOTED_EVERY:
            async with self._db.transaction() as tx:
                await tx.exec(update(Token).where(col(Token.sha256) == sha256).values(last_used_at=now))
        role = min(Role(token.role), Role(membership), key=list(Role).index)
        return Known(token.user, {token.team: role}, frozenset(map(Scope, token.scopes)), Standing(token.id))

    async def _valid_now(self, sha256s: Set[str]) -> Mapping[str, tuple[Token, str]]:
        meant = {"now": self._clock.now(), "sha256s": padded(sha256s)}
        async with self._db.reading() as session:
            found = (await session.exec(_OF_SHA256S, params=meant)).all()
        return {token.sha256: (token, membership) for token, membership in found}


async def valid_tokens(
    session: AsyncSession, now: datetime, *which: ColumnElement[bool] | bool
) -> Sequence[tuple[Token, str]]:
    """The tokens that open this api, each with the role of its user in its team."""
    return (await session.exec(_valid(*which), params={"now": now})).all()


def _valid(*which: ColumnElement[bool] | bool) -> Select[Token, str]:
    return (
        select(Token, Member.role)
        .join(Member, (col(Member.team) == Token.team) & (col(Member.user) == Token.user))
        .where(Member.kind != MemberKind.GROUP, col(Token.revoked_at).is_(None), *which)
        .where(or_(col(Token.expires_at).is_(None), col(Token.expires_at) > bindparam("now")))
    )


_OF_SHA256S = _valid(col(Token.sha256).in_(bindparam("sha256s", expanding=True)))
"""Built once: every request asks it, and building takes longer than asking."""


def sha256_of(token: str) -> str:
    """What a token is kept as: it has 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
