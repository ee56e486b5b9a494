"""Who belongs to which team. Callers commit."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access.roles import Role
from caravan_api.notifications.store import Notification, NotificationRule
from caravan_api.store import Token
from caravan_api.teams.quotas import locked_team
from caravan_api.teams.store import Member, MemberKind, Team


async def roles_of(session: AsyncSession, user: str, groups: Collection[str]) -> dict[str, Role]:
    """A person's role by team: the highest of those given to them and to their groups."""
    is_theirs = (col(Member.kind) == MemberKind.USER) & (col(Member.user) == user)
    if groups:
        is_theirs |= (col(Member.kind) == MemberKind.GROUP) & col(Member.user).in_(groups)
    roles: dict[str, Role] = {}
    for member in (await session.exec(select(Member).where(is_theirs))).all():
        role = Role(member.role)
        if member.team not in roles or role.includes(roles[member.team]):
            roles[member.team] = role
    return roles


async def member_named(session: AsyncSession, team: str, user: str) -> Member | None:
    """The person or service account of that name."""
    statement = select(Member).where(Member.team == team, Member.user == user, Member.kind != MemberKind.GROUP)
    return (await session.exec(statement)).one_or_none()


async def add(
    tx: AsyncSession, team: str, kind: MemberKind, user: str, role: Role, *, by: str, now: datetime
) -> Member:
    """A new member. Raises `NotFound` for a team that is not on record."""
    await locked_team(tx, team)
    member = Member(team=team, kind=kind, user=user, role=role, added_by=by, added_at=now)
    tx.add(member)
    await tx.flush()
    return member


async def remove(tx: AsyncSession, member: Member, now: datetime) -> None:
    """End a membership and the tokens that rest on it."""
    if member.kind != MemberKind.GROUP:
        await _revoke_tokens(tx, now, Token.team == member.team, Token.user == member.user)
    await tx.delete(member)


async def dissolve(tx: AsyncSession, team: Team, now: datetime) -> None:
    """End a team, all memberships, all tokens and what it had told: a later team of that name is another one."""
    await _revoke_tokens(tx, now, Token.team == team.name)
    for table in (Member, NotificationRule):
        for row in (await tx.exec(select(table).where(table.team == team.name))).all():
            await tx.delete(row)
    await tx.exec(delete(Notification).where(col(Notification.team) == team.name))
    await tx.delete(team)


async def _revoke_tokens(tx: AsyncSession, now: datetime, *whose: bool) -> None:
    for token in (await tx.exec(select(Token).where(col(Token.revoked_at).is_(None), *whose))).all():
        token.revoked_at = now
        tx.add(token)
