"""A network that is cut without a word: who waits for an answer gives up in time, and all goes on once it is mended."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing import bus, database
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StoreAway
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.network import HOST, Link, Network, network
from tests.support.postgres import at_port, tcp_port
from tests.support.service import Example, Item, add, done, names, note, open_store, tell

ANSWERS_WITHIN_S = 1.0
GIVES_UP_WITHIN_S = 8.0
"""An answer's time, twice over for what is undone, and a busy machine's."""
MANY = 40
"""More than there are connections."""


@pytest.fixture
async def cut_network(tmp_path: Path) -> AsyncIterator[Network]:
    async with network(tmp_path / "toxiproxy.log") as running:
        yield running


@pytest.fixture
async def store(
    cut_network: Network, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Database, Link]]:
    """A store on PostgreSQL, and the way to it."""
    monkeypatch.setattr(database, "ANSWERS_WITHIN_S", ANSWERS_WITHIN_S)
    async with tcp_port(postgres_url) as port:
        link = await cut_network.link(port)
        async with open_store(at_port(postgres_url, link.port)) as db:
            yield db, link


async def test_statement_whose_answer_does_not_come_is_given_up(store: tuple[Database, Link]) -> None:
    db, link = store
    await add(db, "before")
    await link.cut()
    for _ in range(2):  # on a connection that was open, and on a new one
        began = time.monotonic()
        with pytest.raises(StoreAway, match=r"does not answer.*\w$"):
            await names(db)
        assert time.monotonic() - began < GIVES_UP_WITHIN_S
    await link.mend()
    await add(db, "after")
    assert await names(db) == ["after", "before"]


async def test_transaction_whose_end_is_not_confirmed_is_tried_again(store: tuple[Database, Link]) -> None:
    db, link = store
    with pytest.raises(StoreAway, match="does not answer"):
        await _add_and_cut_off(db, link)
    await link.mend()
    await asyncio.wait_for(add(db, "whole"), GIVES_UP_WITHIN_S)
    assert "whole" in await names(db)


async def test_all_who_wait_for_a_silent_store_are_told_and_find_it_again(store: tuple[Database, Link]) -> None:
    db, link = store
    await add(db, "before")
    await asyncio.gather(*(names(db) for _ in range(MANY)))
    await link.cut()
    results = await asyncio.gather(*(names(db) for _ in range(MANY)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreAway}
    await link.mend()
    assert await asyncio.wait_for(names(db), GIVES_UP_WITHIN_S) == ["before"]


# nats-py leaves connections that it gave up to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_broker_that_falls_silent_is_noticed_and_what_was_said_meanwhile_arrives(
    tmp_path: Path, cut_network: Network, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "_PING_EVERY_S", 1)
    link = await cut_network.link(nats_server.port)
    example = Example(tmp_path, f"nats://{HOST}:{link.port}")
    example.service.hears(BootstrapDone, note)
    near = bus.Bus(nats_server.url, "near", 1)
    async with example.running():
        await near.start()
        await tell(near, done(1))
        await eventually(lambda: example.has_heard(1))
        await link.cut()
        await tell(near, done(2))
        await eventually(lambda: not example.service.bus.connected, within=GIVES_UP_WITHIN_S)
        assert await example.numbers() == [1]
        await link.mend()
        await eventually(lambda: example.has_heard(2))
        assert await example.numbers() == [1, 2]
        await near.stop()


async def test_slow_network_is_no_reason_to_give_up(store: tuple[Database, Link]) -> None:
    db, link = store
    await link.slow_down(ANSWERS_WITHIN_S / 3)
    await add(db, "slowly")
    assert await names(db) == ["slowly"]


async def _add_and_cut_off(db: Database, link: Link) -> None:
    async with db.transaction() as tx:
        tx.add(Item(name="half"))
        await tx.flush()
        await link.cut()
