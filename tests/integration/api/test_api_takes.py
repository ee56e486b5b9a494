"""Leases taken in one transaction: each taker is answered, audited and told of as if alone, or none gets anything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from caravan_api.access import Caller, Role
from caravan_api.admission import Limits
from caravan_api.app import MIGRATIONS
from caravan_api.audit import recording
from caravan_api.audit.actor import Actor, Door
from caravan_api.audit.store import AuditEntry
from caravan_api.desired import Desired
from caravan_api.doors.rest.takes import Asked, Takes
from caravan_api.errors import Conflict, KeyReused, Malformed, NotFound, NotYet
from caravan_api.idempotency import Answer, Key
from caravan_api.pools.finding import Sought
from caravan_api.pools.leases import Leases, Wish
from caravan_api.pools.store import Lease, PoolCluster
from caravan_api.recorder import Recorder
from caravan_api.store import IdempotencyKey, Table, TimelineEntry
from caravan_api.teams.store import Team
from caravan_shared.plumbing.clock import SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.tables import OUTBOX
from tests.support import spares
from tests.support.store import opened

Outcome = Answer | BaseException


class Dying(Leases):
    """Its transaction comes to nothing while `away`, after everything was done in it."""

    away = False

    async def take_each(self, *arguments: Any) -> Any:
        """As the others do, and then the store is away."""
        outcomes = await super().take_each(*arguments)
        if self.away:
            raise StoreAway("cut off")
        return outcomes


@dataclass
class Desk:
    """Takes on a store with two pools of three spares each."""

    db: Database
    takes: Takes
    leases: Dying
    pools: list[str]

    async def ask(self, *asked: Asked) -> list[Outcome]:
        """All at once, so in one transaction."""
        return await asyncio.gather(*map(self.takes.ask, asked), return_exceptions=True)

    async def rows(self, table: Any) -> Sequence[Any]:
        """All that is in a table."""
        async with self.db.reading() as session:
            return (await session.exec(select(table))).all()

    async def claimed(self) -> set[UUID]:
        """The leases that have a spare."""
        async with self.db.reading() as session:
            claimed = select(PoolCluster.lease_id).where(col(PoolCluster.lease_id).is_not(None))
            return {each for each in await session.exec(claimed) if each}


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """One with a store of its own."""
    recording.watch()
    pools = await spares.seed(database_url, pools=2, spares=3, shared_with=["few"])
    async with replica(database_url, pools) as desk:
        async with desk.db.transaction() as tx:
            tx.add(Team(name="few", created_by="test", created_at=datetime.now(UTC), max_leases=2))
        yield desk


@asynccontextmanager
async def replica(database_url: str, pools: list[str]) -> AsyncIterator[Desk]:
    """One replica's, on a store that is filled already."""
    async with opened(Database(database_url, Table.metadata, MIGRATIONS)) as db:
        clock = SystemClock()
        recorder = Recorder(clock, lambda _cluster: None, lambda: None)
        leases = Dying(Desired(recorder, Limits(100, None), clock), recorder, clock, lambda _pool, _in_s: None)
        yield Desk(db, Takes(db, clock, leases), leases, pools)


def asked(
    pool: str, user: str = "ann", *, team: str = spares.TEAM, key: str = "", request: str = "", **wish: Any
) -> Asked:
    """Somebody's request, in a trace of its own."""
    caller = Caller(user, team, Role.DEVELOPER)
    named = Key(caller, key, request or pool) if key else None
    trace = {"traceparent": f"00-{user}-01", "tracestate": ""}
    return Asked(Sought(caller, pool), Wish(**wish), named, Actor(user, Door.REST, f"trace-of-{user}"), trace)


def lease_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Answer), outcome
    return outcome.body


async def test_each_gets_its_own_outcome_and_those_who_are_refused_leave_no_trace(desk: Desk) -> None:
    one, other = desk.pools
    outcomes = await desk.ask(
        asked(one, "ann"),
        asked("no-such", "lost"),
        asked(one, "greedy", lasts_s=10**6),
        asked(one, "bob", purpose="e2e"),
        asked(other, "cid"),
        asked(one, "dan"),
        asked(one, "hasty", waits=False),
        asked(one, "eve"),
        asked(one, "fay"),
    )
    refused = {type(each) for each in outcomes if not isinstance(each, Answer)}
    assert refused == {NotFound, Malformed, NotYet}
    leases = [lease_of(each) for each in outcomes if isinstance(each, Answer)]
    assert [(each["holder"], each["state"], each["position"]) for each in leases] == [
        ("ann", "Held", None),
        ("bob", "Held", None),
        ("cid", "Held", None),
        ("dan", "Held", None),
        ("eve", "Waiting", 1),
        ("fay", "Waiting", 2),
    ]
    assert len({each["cluster_id"] for each in leases[:4]}) == 4
    assert await desk.claimed() == {UUID(each["id"]) for each in leases[:4]}
    assert {str(row.id) for row in await desk.rows(Lease)} == {each["id"] for each in leases}


async def test_each_is_audited_told_and_traced_as_what_it_is(desk: Desk) -> None:
    users = ("ann", "bob", "cid", "dan")
    leases = [lease_of(each) for each in await desk.ask(*(asked(desk.pools[0], user) for user in users))]
    entries = {row.ref: row for row in await desk.rows(AuditEntry) if row.kind == "lease"}
    events = {row.traceparent: row for row in await _outbox(desk)}
    assert len(entries) == len(events) == 4
    for lease, user in zip(leases, users, strict=True):
        entry, event = entries[lease["id"]], events[f"00-{user}-01"]
        assert (entry.actor, entry.door, entry.trace_id) == (user, "rest", f"trace-of-{user}")
        assert (entry.action, entry.before) == ("create", {})
        assert (entry.after["state"], entry.after["cluster"]) == (lease["state"], lease["cluster"])
        told = "lease.granted" if lease["state"] == "Held" else "lease.queued"
        assert event.subject == f"progress.{spares.TEAM}.{told}"
        assert lease["id"].encode() in event.body
    texts = {str(row.cluster_id): row.text for row in await desk.rows(TimelineEntry)}
    assert len(texts) == 3
    assert all(f"{each['holder']} leased it" in texts[each["cluster_id"]] for each in leases[:3])


async def test_the_oldest_spare_goes_to_who_came_first_and_the_queue_is_in_the_order_of_coming(desk: Desk) -> None:
    leases = [lease_of(each) for each in await desk.ask(*(asked(desk.pools[0], f"u{n}") for n in range(40)))]
    made = {str(row.cluster_id): row.made_at for row in await desk.rows(PoolCluster)}
    assert [made[each["cluster_id"]] for each in leases[:3]] == sorted(made[each["cluster_id"]] for each in leases[:3])
    assert [each["position"] for each in leases[3:]] == [*range(1, 38)]
    rows = sorted(await desk.rows(Lease), key=lambda row: row.asked_at)
    assert [row.holder for row in rows] == [f"u{n}" for n in range(40)]
    assert len({row.asked_at for row in rows}) == 40


async def test_nobody_overtakes_who_waits_since_before(desk: Desk) -> None:
    await desk.ask(*(asked(desk.pools[0], f"u{n}") for n in range(4)))
    async with desk.db.transaction() as tx:  # a spare is ready again, and the pool has not looked yet
        spare = (await tx.exec(select(PoolCluster).where(col(PoolCluster.lease_id).is_not(None)).limit(1))).one()
        spare.lease_id = None
        tx.add(spare)
    late, hasty = await desk.ask(asked(desk.pools[0], "late"), asked(desk.pools[0], "hasty", waits=False))
    assert (lease_of(late)["state"], lease_of(late)["position"]) == ("Waiting", 2)
    assert isinstance(hasty, NotYet)


async def test_a_teams_limit_counts_those_who_come_together(desk: Desk) -> None:
    outcomes = await desk.ask(*(asked(pool, f"u{n}", team="few") for n, pool in enumerate(desk.pools * 2)))
    assert sum(isinstance(each, Answer) for each in outcomes) == 2
    assert sum(isinstance(each, Conflict) for each in outcomes) == 2
    assert len(await desk.rows(Lease)) == 2


async def test_a_transaction_that_comes_to_nothing_gives_nobody_anything_and_all_may_ask_again(desk: Desk) -> None:
    requests = [asked(desk.pools[0], f"u{n}", key=f"k{n}") for n in range(3)]
    desk.leases.away = True
    assert [type(each) for each in await desk.ask(*requests)] == [StoreAway] * 3
    assert not await desk.claimed()
    for table in (Lease, AuditEntry, TimelineEntry, IdempotencyKey):
        assert not [row for row in await desk.rows(table) if getattr(row, "kind", "lease") == "lease"]
    assert not await _outbox(desk)
    desk.leases.away = False
    assert [lease_of(each)["state"] for each in await desk.ask(*requests)] == ["Held"] * 3
    assert len(await desk.claimed()) == 3


async def test_a_repeated_request_is_one_lease_whether_it_comes_together_or_later(desk: Desk) -> None:
    request = asked(desk.pools[0], key="k")
    first, again, other = await desk.ask(request, request, asked(desk.pools[0], key="k2"))
    (later,) = await desk.ask(request)
    assert lease_of(first) == lease_of(again) == lease_of(later) != lease_of(other)
    assert len(await desk.rows(Lease)) == 2


async def test_a_key_of_what_was_refused_is_free_and_one_of_what_was_granted_is_not(desk: Desk) -> None:
    refused, granted = await desk.ask(asked("no-such", key="k1"), asked(desk.pools[0], key="k2"))
    assert (type(refused), type(granted)) == (NotFound, Answer)
    now, reused = await desk.ask(asked(desk.pools[0], key="k1"), asked(desk.pools[1], key="k2"))
    assert (type(now), type(reused)) == (Answer, KeyReused)
    assert len(await desk.rows(Lease)) == 2


async def test_replicas_that_are_asked_the_same_in_another_order_give_each_taker_one_lease(
    desk: Desk, database_url: str
) -> None:
    requests = [asked(pool, f"u{n}", key=f"k{n}") for n, pool in enumerate(desk.pools * 8)]
    async with replica(database_url, desk.pools) as other:
        outcomes, mirrored = await asyncio.gather(desk.ask(*requests), other.ask(*reversed(requests)))
    assert [lease_of(each) for each in outcomes] == [lease_of(each) for each in reversed(mirrored)]
    assert len(await desk.claimed()) == 6
    assert sum(lease_of(each)["state"] == "Held" for each in outcomes) == 6
    assert len(await desk.rows(Lease)) == 16


async def test_replicas_at_once_hand_out_each_spare_once_and_keep_a_teams_limit(desk: Desk, database_url: str) -> None:
    few = [asked(pool, f"f{n}", team="few") for n, pool in enumerate(desk.pools * 3)]
    many = [asked(pool, f"u{n}") for n, pool in enumerate(desk.pools * 5)]
    async with replica(database_url, desk.pools) as other:
        outcomes = await asyncio.gather(desk.ask(*many[:5], *few[:3]), other.ask(*few[3:], *reversed(many[5:])))
    leases = [lease_of(each) for each in (*outcomes[0], *outcomes[1]) if not isinstance(each, Conflict)]
    clusters = [each["cluster_id"] for each in leases if each["state"] == "Held"]
    assert len(clusters) == len(set(clusters)) == len(await desk.claimed())
    assert sum(each["team"] == "few" for each in leases) == 2
    assert len(leases) == len(await desk.rows(Lease)) == 12


async def test_the_same_key_of_another_user_is_another_key(desk: Desk) -> None:
    ann, bob = await desk.ask(asked(desk.pools[0], "ann", key="k"), asked(desk.pools[0], "bob", key="k"))
    assert (lease_of(ann)["holder"], lease_of(bob)["holder"]) == ("ann", "bob")


async def _outbox(desk: Desk) -> Sequence[Any]:
    async with desk.db.reading() as session:
        return (await (await session.connection()).execute(OUTBOX.select())).all()
