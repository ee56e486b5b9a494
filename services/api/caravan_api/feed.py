"""Server-sent events (WHATWG HTML, section 9.2): what changed, as soon as it is committed.

A stream is a reader of the store, not a subscriber of messages: it remembers the number of the last change that it sent
and reads what came after. The number is the event's id, so Last-Event-ID resumes anywhere, at any replica.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence, Set
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, update
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.audit.store import AuditEntry
from caravan_api.pools.reach import is_within_reach
from caravan_api.readmodel import timeline_view
from caravan_api.recorder import CHANGES
from caravan_api.seen import SEEN, Seen
from caravan_api.store import Cluster, Counter, TimelineEntry
from caravan_api.written import Written
from caravan_shared.plumbing.backup import JUMP
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.waiting import is_set_within

# Timeline entries in one go: a client that was away for long gets them in several.
_AT_ONCE = 500
_FUTURE = 2**63
MOMENT_S = 5.0
"""A page is drawn at most so long before it opens its stream; what changed in between is news to it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which clusters a stream is about: one, a team's with those that it leases, or (both None) all."""

    team: str | None = None
    cluster_id: UUID | None = None


class Feed:
    """Wakes the streams, and writes them."""

    def __init__(
        self, db: Database, written: Written, *, poll_s: float, heartbeat_s: float, stream_max_s: float
    ) -> None:
        self._db, self._written = db, written
        self._poll_s, self.heartbeat_s, self.stream_max_s = poll_s, heartbeat_s, stream_max_s
        self.changed = asyncio.Event()
        """Set when something has changed since it was read; then there is another one."""
        self.ended = False
        """No stream goes on: the service stops."""
        self._reached: deque[tuple[float, int, int]] = deque()  # at which moment, which change and entry of the audit

    def wake(self) -> None:
        """Something was committed: let every stream look."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Notice what other replicas commit; at the end end all streams, as a server that stops waits for them."""
        self.ended, last = False, (0, 0)
        self._reached.clear()
        try:
            while True:
                await asyncio.sleep(self._poll_s)
                async with self._db.reading() as session:
                    now = await _last_change(session), await _last_audited(session)
                self._remember(*now)
                if now != last:
                    last = now
                    self.wake()
        finally:
            self.ended = True
            self.wake()

    async def stream(self, scope: Scope, last_id: int | None) -> AsyncIterator[str]:
        """The stream's text, from the change after `last_id`, or from now with the clusters as they are."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self.stream_max_s
        async with self._db.reading() as session:
            # A number from the future is one of another store's: there is nothing to resume.
            told = min(await _last_change(session), last_id if last_id is not None else _FUTURE)
            seen = await _seen(session, scope, 0) if last_id is None else []
        clusters = await self._told(seen)
        yield "".join(text for _, text in clusters) or ": open\n\n"
        while loop.time() < ends_at and not self.ended:
            changed = self.changed
            text, told = await self._news(scope, told)
            if text:
                yield text
            elif not await is_set_within(changed, self.heartbeat_s):
                yield ": heartbeat\n\n"

    async def last_change(self) -> int:
        """The number of the last change of all."""
        async with self._db.reading() as session:
            return await _last_change(session)

    async def changed_clusters(self, scope: Scope, since: int) -> tuple[Set[UUID], int]:
        """The clusters that something happened to after change number `since`, and the number reached."""
        async with self._db.reading() as session:
            reached = await _last_change(session)
            if reached <= since:
                return frozenset(), since
            clusters = await session.exec(_in_scope(select(Cluster.id).where(Cluster.change > since), scope))
            told = await session.exec(
                _told_in_scope(select(TimelineEntry.cluster_id).where(TimelineEntry.id > since).distinct(), scope)
            )
        return {*clusters, *told}, reached

    async def a_moment_ago(self) -> tuple[int, int]:
        """The last change and the last entry of the audit, as of `MOMENT_S` ago or as far back as is known."""
        if self._reached:
            return self._reached[0][1:]
        async with self._db.reading() as session:
            return await _last_change(session), await _last_audited(session)

    async def changed_kinds(self, team: str | None, since: int, *, of_all: bool) -> tuple[Set[str], int]:
        """The kinds of what people asked to change after that entry of the audit, and the entry reached.

        Of a team, None: of all; `of_all` adds what belongs to the installation. On PostgreSQL an entry may become
        visible after a later one, and is then passed over: whoever listens looks anew now and then.
        """
        async with self._db.reading() as session:
            reached = await _last_audited(session)
            if reached <= since:
                return frozenset(), since
            statement = select(AuditEntry.kind).where(col(AuditEntry.id) > since).distinct()
            if team is not None:
                whose = [col(AuditEntry.team) == team, *([col(AuditEntry.team).is_(None)] if of_all else [])]
                statement = statement.where(or_(*whose))
            return frozenset(await session.exec(statement)), reached

    def _remember(self, change: int, audited: int) -> None:
        now = monotonic()
        self._reached.append((now, change, audited))
        while len(self._reached) > 1 and self._reached[1][0] <= now - MOMENT_S:
            self._reached.popleft()

    async def _news(self, scope: Scope, since: int) -> tuple[str, int]:
        """What was committed after change number `since`, in that order, and the number reached."""
        async with self._db.reading() as session:
            entries = await _entries(session, scope, since)
            seen = await _seen(session, scope, since)
        clusters = await self._told(seen)
        if len(entries) == _AT_ONCE:
            # The rest comes in the next round; the clusters' present state then, too.
            clusters = [(change, text) for change, text in clusters if change <= entries[-1].id]
        numbered = sorted([*((entry.id, _timeline_event(entry)) for entry in entries), *clusters])
        return "".join(text for _, text in numbered), numbered[-1][0] if numbered else since

    async def _told(self, seen: Sequence[Seen]) -> list[tuple[int, str]]:
        """These clusters as events with their numbers, in the same order."""
        texts = await self._written.views(seen)
        return [(each.change, _cluster_event(each.change, texts[each.id])) for each in seen if each.id in texts]


async def number_on_far_above(tx: AsyncSession) -> None:
    """Number the changes of a restored store far above those that clients have seen since the backup."""
    await tx.exec(update(Counter).where(col(Counter.name) == CHANGES).values(value=Counter.value + JUMP))


async def _last_change(session: AsyncSession) -> int:
    return (await session.exec(select(Counter.value).where(Counter.name == CHANGES))).one_or_none() or 0


async def _last_audited(session: AsyncSession) -> int:
    return (await session.exec(select(func.max(AuditEntry.id)))).one() or 0


async def _seen(session: AsyncSession, scope: Scope, since: int) -> list[Seen]:
    statement = sql_select(*SEEN).where(col(Cluster.change) > since).order_by(col(Cluster.change))
    if scope.cluster_id is None and since == 0:
        statement = statement.where(col(Cluster.deleted_at).is_(None))
    return [Seen._make(row) for row in (await session.exec(_in_scope(statement, scope))).all()]


async def _entries(session: AsyncSession, scope: Scope, since: int) -> Sequence[TimelineEntry]:
    statement = select(TimelineEntry).where(TimelineEntry.id > since).order_by(col(TimelineEntry.id)).limit(_AT_ONCE)
    found: Sequence[TimelineEntry] = (await session.exec(_told_in_scope(statement, scope))).all()
    return found


def _in_scope(statement: Any, scope: Scope) -> Any:
    return _about(statement, scope, owner=Cluster.team, cluster=Cluster.id)


def _told_in_scope(statement: Any, scope: Scope) -> Any:
    return _about(statement, scope, owner=TimelineEntry.team, cluster=TimelineEntry.cluster_id)


def _about(statement: Any, scope: Scope, *, owner: Any, cluster: Any) -> Any:
    if scope.cluster_id:
        statement = statement.where(cluster == scope.cluster_id)
    if scope.team:
        statement = statement.where(is_within_reach(scope.team, owner=owner, cluster=cluster))
    return statement


def _cluster_event(change: int, view: str) -> str:
    return f"id: {change}\nevent: cluster\ndata: {view}\n\n"


def _timeline_event(entry: TimelineEntry) -> str:
    return f"id: {entry.id}\nevent: timeline\ndata: {timeline_view(entry).model_dump_json()}\n\n"
