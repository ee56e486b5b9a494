"""A store that cannot be worked with right now: whoever asked is told so, and all goes on once it is back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.dead_letters import list_dead_letters
from caravan_shared.plumbing.delivery import Patience
from caravan_shared.plumbing.errors import StoreAway
from tests.support.database_away import Switch
from tests.support.eventually import eventually
from tests.support.http import get
from tests.support.nats import NatsServer
from tests.support.ports import free_port
from tests.support.service import Example, Item, Table, add, done, names, note, open_store, tell


@pytest.fixture
async def switch(postgres_url: str) -> AsyncIterator[Switch]:
    async with Switch.of(postgres_url) as switch:
        yield switch


async def test_database_that_went_away_is_used_again_when_it_is_back(postgres_url: str, switch: Switch) -> None:
    async with open_store(postgres_url) as db:
        await add(db, "before")
        with pytest.raises(StoreAway, match="cannot be worked with right now"):
            await _add_and_lose(db, switch)
        with pytest.raises(StoreAway, match="does not answer"):
            await add(db, "meanwhile")
        with pytest.raises(StoreAway):
            await names(db)
        await switch.on()
        await add(db, "after")
        assert await names(db) == ["after", "before"]


async def test_server_that_nobody_runs_is_away(tmp_path: Path) -> None:
    db = Database(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/none", Table.metadata, tmp_path)
    db.open()
    with pytest.raises(StoreAway, match="does not answer"):
        await names(db)
    await db.stop()


async def test_full_disk_is_the_stores_matter(tmp_path: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        async with db.transaction() as tx:
            await (await tx.connection()).exec_driver_sql("PRAGMA max_page_count=1")  # what it has already is the least
        with pytest.raises(StoreAway, match="full"):
            await _fill(db)
        assert await names(db), "what was stored before can still be read"


async def test_of_those_who_met_a_full_disk_together_nobody_was_told_done_too_early(tmp_path: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db") as db:
        async with db.transaction() as tx:
            pages = (await (await tx.connection()).exec_driver_sql("PRAGMA page_count")).scalar_one()
            await (await tx.connection()).exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
        wanted = [f"{number:0>500}" for number in range(100)]
        results = await asyncio.gather(*(add(db, name) for name in wanted), return_exceptions=True)
        assert any(results)
        assert all(result is None or isinstance(result, StoreAway) for result in results)
        assert await names(db) == [name for name, result in zip(wanted, results, strict=True) if result is None]


async def test_what_a_statement_did_wrong_stays_what_it_was(database_url: str) -> None:
    async with open_store(database_url) as db:
        await add(db, "a")
        with pytest.raises(IntegrityError):
            await add(db, "a")


async def test_event_that_comes_while_the_store_is_away_takes_effect_later_and_service_runs_on(
    tmp_path: Path, nats_server: NatsServer, postgres_url: str, switch: Switch
) -> None:
    example = Example(tmp_path, nats_server.url, database_url=postgres_url, patience=Patience(tries=1))
    example.service.hears(BootstrapDone, note)
    looked = []

    async def look() -> None:
        while True:
            await names(example.service.db)
            looked.append(1)
            await asyncio.sleep(0.1)

    example.service.alongside("looking", look)
    async with example.running():
        await eventually(lambda: looked)
        await switch.off()
        await tell(example.service.bus, done(1))
        await eventually(lambda: _is_unready(example))
        assert (await get(example, "/livez"))[0] == 200
        await switch.on()
        looked.clear()
        await eventually(lambda: looked, saying="the part goes on")
        await eventually(example.noted, saying="the event took effect")
        assert await example.numbers() == [1]
        assert await list_dead_letters(example.service.bus) == []


async def _is_unready(example: Example) -> bool:
    status, body = await get(example, "/readyz")
    return status == 503 and "the store does not answer" in body


async def _add_and_lose(db: Database, switch: Switch) -> None:
    async with db.transaction() as tx:
        tx.add(Item(name="lost"))
        await tx.flush()
        await switch.off()


async def _fill(db: Database) -> None:
    for number in range(1000):
        await add(db, f"{number:0>500}")
