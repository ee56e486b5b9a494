"""Who somebody in a chat is: they ask for a code there, and a user of ours confirms it with their own token.

A link carries no role: what it opens is looked up in the membership each time. One that is older than the membership is
void, so that who was taken out of a team and let in again starts anew, as with tokens.
"""

import secrets
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Known, Role
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.chatops.signatures import digest
from caravan_api.doors.chatops.store import ChatUser, LinkCode
from caravan_api.errors import Conflict, Forbidden, NotFound
from caravan_api.teams.directory import member_named

_CODE_LASTS = timedelta(minutes=10)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that look like another
_LENGTH = 12  # 60 bits: not to be guessed within ten minutes


async def caller_of(session: AsyncSession, said: Said) -> Caller | None:
    """The user behind whoever said that, with their present role; None for somebody who is nobody's link."""
    link = await session.get(ChatUser, (said.integration, said.workspace, said.chat_user))
    member = await member_named(session, link.team, link.user) if link else None
    if link is None or member is None or member.added_at > link.linked_at:
        return None
    return Known(link.user, {link.team: Role(member.role)}).within(link.team)


async def offer_code(tx: AsyncSession, said: Said, now: datetime) -> str:
    """A code for whoever said that, good once and for ten minutes; earlier ones of theirs are void."""
    await tx.exec(
        delete(LinkCode).where(
            col(LinkCode.integration) == said.integration,
            col(LinkCode.workspace) == said.workspace,
            col(LinkCode.chat_user) == said.chat_user,
        )
    )
    code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    tx.add(
        LinkCode(
            sha256=digest(code),
            integration=said.integration,
            workspace=said.workspace,
            chat_user=said.chat_user,
            chat_name=said.chat_name,
            expires_at=now + _CODE_LASTS,
        )
    )
    return code


async def confirm(tx: AsyncSession, caller: Caller, code: str, now: datetime) -> ChatUser:
    """Whoever was given the code is the caller from now on, in the caller's team.

    Raises `NotFound` for no such code, `Conflict` for who is no member by name, `Forbidden` for a token that may do
    less than its user: it would become more by this.
    """
    member = await member_named(tx, caller.team, caller.user)
    if member is None:
        raise Conflict(
            f"{caller.user} is no member of the team {caller.team} by name: have an owner add you, "
            f"`caravan --team {caller.team} member add {caller.user}`"
        )
    if caller.scopes or caller.role is not Role(member.role):
        raise Forbidden(f"your token may do less than you, who are {member.role}: link with one that is not limited")
    found = await tx.get(LinkCode, digest(code.upper()), with_for_update=True)
    if found is None or found.expires_at <= now:
        raise NotFound("there is no such code: ask for a new one in the chat")
    await tx.delete(found)
    link = ChatUser(
        integration=found.integration,
        workspace=found.workspace,
        chat_user=found.chat_user,
        id=uuid4(),
        chat_name=found.chat_name,
        user=caller.user,
        team=caller.team,
        linked_at=now,
    )
    if earlier := await tx.get(ChatUser, (link.integration, link.workspace, link.chat_user), with_for_update=True):
        await tx.delete(earlier)
        await tx.flush()
    tx.add(link)
    return link


async def links_of(session: AsyncSession, user: str) -> list[ChatUser]:
    """All that a user is in chats."""
    statement = select(ChatUser).where(ChatUser.user == user).order_by(col(ChatUser.linked_at))
    return list((await session.exec(statement)).all())
