"""Answer later, at the URL that came with the request: what pressed a button, and whoever waits for a cluster.

The answer is written down first and sent afterwards, by whichever replica comes first; a crash in between sends it
twice at worst. It is given up, visibly, when the product takes it no more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from prometheus_client import Counter
from sqlalchemy import delete, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.notifications import pause_s
from caravan_api.doors.chatops import mattermost, slack
from caravan_api.doors.chatops.answers import Answer
from caravan_api.doors.chatops.integrations import Integration, SlackApp
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.chatops.serving import lease_line
from caravan_api.doors.chatops.store import ChatReply, url_context
from caravan_api.outgoing import TIMEOUT_S, Outgoing, Undelivered
from caravan_api.pools.store import Lease
from caravan_shared.contracts.states import LeaseState
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, after_commit
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.waiting import is_set_within

URL_LASTS = timedelta(minutes=30)
"""So long either product takes answers at a response URL."""
_LOOK_AGAIN_S = 1.0  # for what another replica wrote, and for leases that were served
_AT_ONCE = 20
_CLAIMED = timedelta(seconds=3 * TIMEOUT_S)  # nobody else sends it meanwhile
_KEPT = timedelta(days=1)

_GIVEN_UP = Counter("caravan_chat_replies_given_up_total", "Answers that a chat did not take.", ["integration"])

log = get_logger(__name__)


class Replies:
    """Keeps what is to be answered, and sends it."""

    def __init__(
        self, db: Database, clock: Clock, keys: KeyRing, outgoing: Outgoing, integrations: Mapping[str, Integration]
    ) -> None:
        self._db, self._clock, self._keys, self._outgoing = db, clock, keys, outgoing
        self._integrations = integrations
        self._wanted = asyncio.Event()

    def answer(self, tx: AsyncSession, said: Said, answer: Answer) -> None:
        """Have this answered as soon as `tx` is committed."""
        self._keep(tx, said, None, self._shown(said.integration, answer, said.chat_user))

    def when_served(self, tx: AsyncSession, said: Said, lease: Lease) -> bool:
        """Have it told when the lease has left its queue; False where the product gave no way to."""
        if said.reply_url is None or self._outgoing.problem(said.reply_url):
            return False
        self._keep(tx, said, lease.id, {})
        return True

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            self._wanted.clear()
            due = await self._claim()
            await asyncio.gather(*(self._send(*each) for each in due))
            if len(due) < _AT_ONCE:
                await is_set_within(self._wanted, _LOOK_AGAIN_S)

    def _keep(self, tx: AsyncSession, said: Said, lease_id: UUID | None, body: dict[str, object]) -> None:
        if said.reply_url is None:
            return
        now, reply_id = self._clock.now(), uuid4()
        tx.add(
            ChatReply(
                id=reply_id,
                integration=said.integration,
                chat_user=said.chat_user,
                url=self._keys.seal(said.reply_url, url_context(reply_id)),
                lease_id=lease_id,
                body=body,
                created_at=now,
                expires_at=now + URL_LASTS,
                next_try_at=now,
            )
        )
        after_commit(tx, self._wanted.set)

    async def _claim(self) -> Sequence[tuple[ChatReply, Lease | None]]:
        now = self._clock.now()
        statement = (
            select(ChatReply, Lease)
            .join(Lease, col(Lease.id) == col(ChatReply.lease_id), isouter=True)
            .where(
                col(ChatReply.ended_at).is_(None),
                ChatReply.next_try_at <= now,
                or_(
                    col(ChatReply.lease_id).is_(None),
                    col(Lease.state) != LeaseState.WAITING.value,
                    col(ChatReply.expires_at) <= now,
                ),
            )
            .limit(_AT_ONCE)
        )
        async with self._db.reading() as session:
            if (await session.exec(statement)).first() is None:
                return ()  # as nearly always: nobody is kept from writing for that
        async with self._db.transaction() as tx:
            due = (await tx.exec(statement.with_for_update(of=ChatReply, skip_locked=True))).all()
            for reply, _ in due:
                reply.next_try_at, reply.tries = now + _CLAIMED, reply.tries + 1
                tx.add(reply)
        return [(reply, lease) for reply, lease in due]

    async def _send(self, reply: ChatReply, lease: Lease | None) -> None:
        now = self._clock.now()
        if reply.integration not in self._integrations:
            await self._end(reply, "this chat is configured no more")
            return
        if reply.expires_at <= now:
            await self._end(reply, reply.problem or "the product takes it no more: it waited for half an hour")
            return
        body = self._shown(reply.integration, _served(lease), reply.chat_user) if lease else reply.body
        try:
            await self._outgoing.post_sealed(self._keys, reply.url, url_context(reply.id), body)
        except Undelivered as error:
            await self._put_off(reply, error, now)
        else:
            await self._end(reply, None)

    async def _put_off(self, reply: ChatReply, error: Undelivered, now: datetime) -> None:
        if error.for_good:
            await self._end(reply, error.reason)
            return
        reply.problem = error.reason
        reply.next_try_at = now + timedelta(seconds=max(pause_s(reply.tries), error.after_s or 0.0))
        await self._save(reply)

    async def _end(self, reply: ChatReply, problem: str | None) -> None:
        reply.ended_at, reply.problem = self._clock.now(), problem
        await self._save(reply)
        if problem:
            _GIVEN_UP.labels(reply.integration).inc()
            log.warning("answer to a chat given up", integration=reply.integration, reply=str(reply.id), reason=problem)

    async def _save(self, reply: ChatReply) -> None:
        async with self._db.transaction() as tx:
            await tx.merge(reply)

    def _shown(self, integration: str, answer: Answer, chat_user: str) -> dict[str, object]:
        app = self._integrations[integration]
        if isinstance(app, SlackApp):
            return slack.shown(answer)
        return mattermost.shown(app, integration, answer, chat_user, self._clock.now())


async def forget_replies(tx: AsyncSession, now: datetime) -> None:
    """Drop what was sent or given up long ago."""
    await tx.exec(delete(ChatReply).where(col(ChatReply.ended_at) < now - _KEPT))


def _served(lease: Lease) -> Answer:
    if lease.state == LeaseState.ENDED:
        return Answer(f"Your lease of {lease.pool} is over before you got a cluster: {lease.end_reason}.")
    return Answer("It is your turn.", [lease_line(lease)])
