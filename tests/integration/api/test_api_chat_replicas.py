"""Several replicas on one store, on either database: what was said is heard once, what is told is told once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from caravan_api.app import MIGRATIONS
from caravan_api.decide.notifications import Occasion, Pace
from caravan_api.doors.chatops.answers import Answer
from caravan_api.doors.chatops.conversation import forget_heard, hear_once
from caravan_api.doors.chatops.integrations import SlackApp
from caravan_api.doors.chatops.replies import Replies
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.chatops.store import ChatReply, HeardRequest
from caravan_api.errors import Unsigned
from caravan_api.markup import Product
from caravan_api.notifications.deliver import Deliverer, Terms
from caravan_api.notifications.store import Notification, NotificationRule, url_context
from caravan_api.outgoing import Outgoing
from caravan_api.store import Table
from caravan_shared.plumbing.clock import Clock, SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing
from tests.support.chat import SLACK_SECRET, FakeChat, fake_chat
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.store import migrated

CLOCK = SystemClock()
KEYS = KeyRing({"k": b"0" * 32}, "k")
REPLICAS = 3
TERMS = Terms(group_s=0, pace=Pace(burst=1, every_s=0.2), most_tries=2, look_every_s=0.05)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The api's store."""
    async with migrated(Database(database_url, Table.metadata, MIGRATIONS)) as store:
        yield store


@pytest.fixture
async def fake() -> AsyncIterator[FakeChat]:
    """The fake of both products."""
    async with fake_chat(free_port()) as chat:
        yield chat


def _outgoing(fake: FakeChat) -> Outgoing:
    return Outgoing([fake.url.removeprefix("http://")], CLOCK)


def _said(reply_url: str | None = None) -> Said:
    return Said("acme", "T1", "U1", "alice", "list", uuid4().hex, reply_url)


@asynccontextmanager
async def _running(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each()) for each in work]
    yield
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def test_what_was_said_is_heard_by_one_replica_and_forgotten_in_time(db: Database) -> None:
    said, now = _said(), datetime.now(UTC)
    heard = await asyncio.gather(*(hear_once(db, said, now) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in heard if each is not None] == [Unsigned] * 4
    async with db.transaction() as tx:
        await forget_heard(tx, now, now)
    with pytest.raises(Unsigned):
        await hear_once(db, said, now)
    async with db.transaction() as tx:
        await forget_heard(tx, datetime.now(UTC), now)
    async with db.reading() as session:
        assert not (await session.exec(select(HeardRequest))).all()


async def test_an_answer_is_sent_by_one_replica(db: Database, fake: FakeChat) -> None:
    app = SlackApp(product=Product.SLACK, signing_secret=SLACK_SECRET, workspaces=("T1",))
    replicas = [Replies(db, CLOCK, KEYS, _outgoing(fake), {"acme": app}) for _ in range(REPLICAS)]
    for _ in range(30):
        async with db.transaction() as tx:
            replicas[0].answer(tx, _said(f"{fake.url}/reply"), Answer("Here you are."))

    async def all_ended() -> bool:
        async with db.reading() as session:
            return all(reply.ended_at for reply in (await session.exec(select(ChatReply))).all())

    async with _running(*(each.run for each in replicas)):
        await eventually(all_ended)
    assert len(fake.at("/reply")) == 30


async def test_a_message_is_told_by_one_replica(db: Database, fake: FakeChat) -> None:
    await _have_told(db, fake, "first", "second")
    replicas = [_deliverer(db, fake) for _ in range(REPLICAS)]
    async with _running(*(each.run for each in replicas)):
        await eventually(lambda: _nothing_is_pending(db))
    assert _told(fake) == ["5 clusters failed: c0, c1, c2, c3, c4"] * 2


async def test_a_message_that_a_replica_died_with_is_told_by_one_of_the_others(db: Database, fake: FakeChat) -> None:
    async def is_taken() -> bool:
        async with db.reading() as session:
            return (await session.get_one(NotificationRule, ("t", "first"))).tries == 1

    await _have_told(db, fake, "first")
    async with _running(Deliverer(db, CLOCK, KEYS, _Silent(), TERMS).run):
        await eventually(is_taken)
    assert _told(fake) == []
    later = ManualClock(datetime.now(UTC) + timedelta(minutes=1))
    async with _running(*(_deliverer(db, fake, later).run for _ in range(REPLICAS))):
        await eventually(lambda: _nothing_is_pending(db))
    assert _told(fake) == ["5 clusters failed: c0, c1, c2, c3, c4"]


class _Silent(Outgoing):
    """Never gets to the end of a message: its process dies before."""

    def __init__(self) -> None:
        super().__init__([], CLOCK)

    async def post(self, url: str, body: object) -> None:
        await asyncio.Event().wait()


def _deliverer(db: Database, fake: FakeChat, clock: Clock = CLOCK) -> Deliverer:
    return Deliverer(db, clock, KEYS, _outgoing(fake), TERMS)


def _told(fake: FakeChat) -> list[str]:
    return [body["text"] for body in fake.at("/hook")]


async def _nothing_is_pending(db: Database) -> bool:
    async with db.reading() as session:
        return not (await session.exec(select(Notification))).all()


async def _have_told(db: Database, fake: FakeChat, *rules: str) -> None:
    """Five failures for each rule to tell."""
    now, url = datetime.now(UTC), f"{fake.url}/hook"
    async with db.transaction() as tx:
        for name in rules:
            tx.add(
                NotificationRule(
                    team="t",
                    name=name,
                    product="slack",
                    url=KEYS.seal(url, url_context("t", name)),
                    target="x",
                    occasions=["cluster-failed"],
                    created_by="alice",
                    updated_at=now,
                    next_try_at=now,
                )
            )
            for number in range(5):
                occasion = Occasion.CLUSTER_FAILED.value
                tx.add(Notification(team="t", rule=name, occasion=occasion, about=f"c{number}", text="!", at=now))
