"""Who may do what: bearer tokens, teams, roles; and the check that no route forgot to say which role it needs.

A viewer reads, a developer also changes, both in their own team. An admin runs the installation: all teams, dead
letters. What belongs to another team does not exist for its outsiders: they get 404, never 403.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from caravan_api.errors import Forbidden, Unauthenticated
from caravan_api.store import Token
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_USE_NOTED_EVERY = timedelta(minutes=1)
FIRST_TEAM = "default"
FIRST_ADMIN = "admin"


class Role(StrEnum):
    """What a token may do, from least to most."""

    VIEWER = "viewer"
    """Reads what its team has."""
    DEVELOPER = "developer"
    """Also creates, changes and deletes it."""
    ADMIN = "admin"
    """Runs the installation: every team's clusters, tokens, dead letters."""

    def includes(self, other: "Role") -> bool:
        """True if this role may do all that the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request."""

    user: str
    team: str
    role: Role
    token_id: UUID | None = None
    """The token that was sent; None for the first admin's, which is never stored."""

    @property
    def is_admin(self) -> bool:
        """True for those who run the installation."""
        return self.role is Role.ADMIN

    def sees(self, team: str) -> bool:
        """True if what belongs to that team exists for the caller."""
        return team == self.team or self.is_admin


class Access:
    """Makes tokens and recognises them. `first_admin` comes from the settings and is never stored."""

    def __init__(self, db: Database, clock: Clock, first_admin: str | None) -> None:
        self._db, self._clock = db, clock
        self._first_admin = _sha256(first_admin) if first_admin else ""

    async def issue(
        self, tx: AsyncSession, user: str, team: str, role: Role, lasts: timedelta | None
    ) -> tuple[Token, str]:
        """Make a token, void after `lasts` if that is given; its text is known only now."""
        text = f"caravan_{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        token = Token(
            sha256=_sha256(text),
            id=uuid4(),
            user=user,
            team=team,
            role=role.value,
            created_at=now,
            expires_at=now + lasts if lasts else None,
        )
        tx.add(token)
        return token, text

    async def recognise(self, token: str) -> Caller | None:
        """Whose token this is; None for one that was never issued, has expired or is revoked."""
        sha256, now = _sha256(token), self._clock.now()
        if hmac.compare_digest(sha256, self._first_admin):
            return Caller(FIRST_ADMIN, FIRST_TEAM, Role.ADMIN)
        async with self._db.reading() as session:
            known = (await session.exec(valid(now).where(Token.sha256 == sha256))).one_or_none()
        if known is None:
            return None
        if known.last_used_at is None or now - known.last_used_at >= _USE_NOTED_EVERY:
            async with self._db.transaction() as tx:
                await tx.exec(update(Token).where(col(Token.sha256) == sha256).values(last_used_at=now))
        return Caller(known.user, known.team, Role(known.role), known.id)

    async def still_knows(self, caller: Caller) -> bool:
        """Whether the caller's token is valid still: what takes a while must not outlive it."""
        if caller.token_id is None:
            return True
        async with self._db.reading() as session:
            return bool((await session.exec(valid(self._clock.now()).where(Token.id == caller.token_id))).first())


def valid(now: datetime) -> SelectOfScalar[Token]:
    """The query for the tokens that open this api."""
    unexpired = or_(col(Token.expires_at).is_(None), col(Token.expires_at) > now)
    return select(Token).where(col(Token.revoked_at).is_(None), unexpired)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


_bearer = HTTPBearer(auto_error=False, description="A token of your team.")


def needs(role: Role) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """The dependency that lets in callers of at least this role."""

    async def caller(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Caller:
        access: Access = request.app.state.api.access
        known = await access.recognise(credentials.credentials) if credentials else None
        if known is None:
            raise Unauthenticated
        if not known.role.includes(role):
            raise Forbidden(f"this needs the role {role}, and yours is {known.role}")
        return known

    caller.needed_role = role  # type: ignore[attr-defined]  # what `routes_open_to_all` looks for
    return caller


Viewer = Annotated[Caller, Depends(needs(Role.VIEWER))]
Developer = Annotated[Caller, Depends(needs(Role.DEVELOPER))]
Admin = Annotated[Caller, Depends(needs(Role.ADMIN))]


def routes_open_to_all(routes: Iterable[APIRoute]) -> list[str]:
    """The routes that name no role; anything in this list is a defect."""
    return [f"{sorted(route.methods or ())} {route.path}" for route in routes if not _names_a_role(route.dependant)]


def _names_a_role(dependant: Dependant) -> bool:
    return any(hasattr(needed.call, "needed_role") or _names_a_role(needed) for needed in dependant.dependencies)
