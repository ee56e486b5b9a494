"""Deliver what rules caught: grouped, no faster than a target takes it, again and again until it is taken.

Level-triggered: it looks at what is pending and decides anew each time, so that a killed process only delays. What was
sent right before a kill is sent twice. A rule whose messages nobody takes is stopped, and its view says why.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter
from sqlalchemy import ColumnElement, and_, delete, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.decide.notifications import Bucket, News, Occasion, Pace, message, next_message, pause_s
from caravan_api.markup import Product, escaped
from caravan_api.notifications.store import Notification, NotificationRule, NotificationTarget, url_context
from caravan_api.outgoing import TIMEOUT_S, Outgoing, Undelivered
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, upsert
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.sealing import KeyRing

_CLAIMED = timedelta(seconds=3 * TIMEOUT_S)  # no other replica sends for the rule meanwhile
_MOST_PENDING = 1000  # of a rule in one look; the rest comes with the next message

_TOLD = Counter("caravan_notifications_told_total", "Messages that a chat took.")
_STOPPED = Counter("caravan_notification_rules_stopped_total", "Rules stopped because their messages were not taken.")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How notifications are delivered."""

    group_s: float
    pace: Pace
    most_tries: int
    look_every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Message:
    team: str
    rule: str
    target: str
    url: str
    """Sealed."""
    body: dict[str, str]
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Delivers notifications for as long as it runs."""

    db: Database
    clock: Clock
    keys: KeyRing
    outgoing: Outgoing
    terms: Terms

    async def run(self) -> None:
        """Deliver what is due, until cancelled."""
        while True:
            messages = [made for key in await self._due() if (made := await self._take(*key))]
            await asyncio.gather(*(self._deliver(each) for each in messages))
            if not messages:
                await asyncio.sleep(self.terms.look_every_s)

    async def _due(self) -> Sequence[tuple[str, str]]:
        """Rules that have something to tell and may try."""
        statement = (
            select(NotificationRule.team, NotificationRule.name)
            .join(
                Notification,
                (col(Notification.team) == NotificationRule.team) & (col(Notification.rule) == NotificationRule.name),
            )
            .where(NotificationRule.next_try_at <= self.clock.now())
            .group_by(col(NotificationRule.team), col(NotificationRule.name))
            .order_by(func.min(Notification.id))
        )
        async with self.db.reading() as session:
            return [(team, name) for team, name in (await session.exec(statement)).all()]

    async def _take(self, team: str, name: str) -> _Message | None:
        """The rule's next message if it is due and its target takes one; nobody else sends it for a while."""
        now = self.clock.now()
        async with self.db.transaction() as tx:
            rule = await tx.get(NotificationRule, (team, name), with_for_update={"skip_locked": True})
            if rule is None or rule.next_try_at > now or not (pending := await _pending(tx, rule)):
                return None
            group, due_s = next_message(pending, self.terms.group_s, now)
            bucket = await self._bucket(tx, rule.target, now)
            wait_s = max(due_s, bucket.wait_s(now, self.terms.pace))
            if wait_s > 0:
                rule.next_try_at = now + timedelta(seconds=wait_s)
                tx.add(rule)
                return None
            rule.next_try_at, rule.tries = now + _CLAIMED, rule.tries + 1
            tx.add(rule)
            await _fill(tx, rule.target, bucket.after_one(now, self.terms.pace))
        return _Message(team, name, rule.target, rule.url, _body(rule, group), [news.id for news in group])

    async def _deliver(self, made: _Message) -> None:
        try:
            await self.outgoing.post_sealed(self.keys, made.url, url_context(made.team, made.rule), made.body)
        except Undelivered as error:
            await self._put_off(made, error)
            return
        _TOLD.inc()
        async with self.db.transaction() as tx:
            await tx.exec(delete(Notification).where(col(Notification.id).in_(made.ids)))
            if rule := await self._still(tx, made):
                now = self.clock.now()
                rule.next_try_at, rule.tries, rule.problem, rule.told_at = now, 0, None, now
                tx.add(rule)

    async def _put_off(self, made: _Message, error: Undelivered) -> None:
        now = self.clock.now()
        async with self.db.transaction() as tx:
            rule = await self._still(tx, made)
            if rule is None:
                return
            rule.problem = error.reason
            if error.for_good or rule.tries >= self.terms.most_tries:
                rule.stopped_at = now
                await tx.exec(delete(Notification).where(_of(rule)))
                _STOPPED.inc()
                log.warning("notifications stopped", team=rule.team, rule=rule.name, reason=error.reason)
            else:
                pause = timedelta(seconds=max(pause_s(rule.tries), error.after_s or 0.0))
                rule.next_try_at = now + pause
                if error.after_s:
                    bucket = await self._bucket(tx, rule.target, now)
                    await _fill(tx, rule.target, Bucket(bucket.tokens, bucket.at, now + pause))
            tx.add(rule)

    async def _still(self, tx: AsyncSession, made: _Message) -> NotificationRule | None:
        """The rule, locked, unless somebody changed where it tells meanwhile: then this says nothing of it."""
        rule = await tx.get(NotificationRule, (made.team, made.rule), with_for_update=True)
        return rule if rule and rule.target == made.target else None

    async def _bucket(self, tx: AsyncSession, target: str, now: datetime) -> Bucket:
        """The target's bucket, locked; a new one is full."""
        full = {"sha256": target, "tokens": float(self.terms.pace.burst), "at": now, "held_until": now}
        await upsert(tx, NotificationTarget, [full], key=["sha256"], update=[])
        row = await tx.get_one(NotificationTarget, target, with_for_update=True)
        return Bucket(row.tokens, row.at, row.held_until)


async def forget_targets(tx: AsyncSession, before: datetime) -> None:
    """Drop the buckets of targets that nobody wrote to since then: they are full."""
    await tx.exec(
        delete(NotificationTarget).where(
            col(NotificationTarget.at) < before, col(NotificationTarget.held_until) < before
        )
    )


async def _pending(tx: AsyncSession, rule: NotificationRule) -> Sequence[News]:
    rows = await tx.exec(select(Notification).where(_of(rule)).order_by(col(Notification.id)).limit(_MOST_PENDING))
    return [News(row.id or 0, Occasion(row.occasion), row.about, row.text, row.at) for row in rows.all()]


async def _fill(tx: AsyncSession, target: str, bucket: Bucket) -> None:
    row = await tx.get_one(NotificationTarget, target)
    row.tokens, row.at, row.held_until = bucket.tokens, bucket.at, bucket.held_until
    tx.add(row)


def _of(rule: NotificationRule) -> ColumnElement[bool]:
    return and_(col(Notification.team) == rule.team, col(Notification.rule) == rule.name)


def _body(rule: NotificationRule, group: Sequence[News]) -> dict[str, str]:
    """Both products take this: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""
    body = {"text": escaped(Product(rule.product), message(group))}
    return body | ({"channel": rule.channel} if rule.channel else {})
