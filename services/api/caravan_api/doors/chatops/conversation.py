"""One thing said, one answer: heard once, understood, done on behalf of the user behind it."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.engine import CursorResult
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.audit.actor import Actor, Door, act_as
from caravan_api.doors.chatops import commands, language
from caravan_api.doors.chatops.answers import COMMAND, Answer, refusal
from caravan_api.doors.chatops.commands import Doing
from caravan_api.doors.chatops.links import caller_of, offer_code
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.chatops.store import HeardRequest, LinkCode
from caravan_api.doors.rest.context import Api
from caravan_api.errors import Unsigned
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.errors import CaravanError

_STRANGER = Answer(f"I do not know you yet: type {COMMAND} link, and confirm the code with your own token.")


async def hear_once(db: Database, said: Said, now: datetime) -> None:
    """Note that it was said, in a transaction of its own: what failed is not to be repeated by others either.

    Raises `Unsigned` if it was said before.
    """
    async with db.transaction() as tx:
        statement = insert_into(tx, HeardRequest).values(integration=said.integration, once=said.once, heard_at=now)
        result = await tx.exec(statement.on_conflict_do_nothing())
        assert isinstance(result, CursorResult)
        is_new = result.rowcount == 1
    if not is_new:
        raise Unsigned


async def answer(api: Api, said: Said, trace_id: str) -> Answer:
    """What is answered; everything that was asked for is done by then, or refused whole."""
    try:
        command = language.understand(said.text)
        async with api.db.transaction() as tx:
            return await _answered(api, tx, said, command, trace_id)
    except language.Misunderstood as error:
        return Answer(str(error), to_copy=language.usage())
    except CaravanError as error:
        return refusal(error)


async def _answered(api: Api, tx: AsyncSession, said: Said, command: language.Command, trace_id: str) -> Answer:
    if isinstance(command, language.Help):
        return Answer("Kubernetes clusters on request:", to_copy=language.usage())
    if isinstance(command, language.Link):
        code = await offer_code(tx, said, api.clock.now())
        text = "Confirm within ten minutes, where you use your own token, that you are this person. Pass it to nobody:"
        return Answer(text, to_copy=f"caravan chat link {code}")
    caller = await caller_of(tx, said)
    if caller is None:
        return _STRANGER
    act_as(Actor(caller.user, Door.CHAT, trace_id))
    return await commands.do(Doing(api, tx, caller, said), command)


async def forget_heard(tx: AsyncSession, before: datetime, now: datetime) -> None:
    """Drop what was heard before that moment, and codes that are void."""
    await tx.exec(delete(HeardRequest).where(col(HeardRequest.heard_at) < before))
    await tx.exec(delete(LinkCode).where(col(LinkCode.expires_at) <= now))
