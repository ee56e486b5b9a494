"""The key ring is turned under a running service: what it keeps comes under the new key, and the old one can go."""

import asyncio
import importlib
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from caravan_dns import store
from caravan_dns.app import MIGRATIONS
from caravan_dns.store import PkiPart, pki_context
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealed_columns import Resealing, keys_in_use, sealed_columns
from caravan_shared.plumbing.sealing import CannotOpen, KeyRing, drop, rotate
from tests.support.eventually import eventually
from tests.support.store import opened

MANY = 250  # more than are read at once


async def keep(db: Database, keys: KeyRing, cluster_id: UUID, purpose: str) -> None:
    sealed = keys.seal(f"secret of {purpose}", pki_context(cluster_id, purpose))
    async with db.transaction() as tx:
        tx.add(PkiPart(cluster_id=cluster_id, purpose=purpose, public="p", sealed_key=sealed))


async def used(db: Database) -> set[str]:
    async with db.snapshot() as connection:
        return await keys_in_use(connection, db.metadata)


async def opens(db: Database, keys: KeyRing, cluster_id: UUID, purpose: str) -> str:
    async with db.reading() as session:
        part = await session.get_one(PkiPart, (cluster_id, purpose))
    return keys.open(part.sealed_key, pki_context(cluster_id, purpose))


async def uses_only(db: Database, name: str) -> bool:
    return await used(db) == {name}


async def test_what_was_sealed_under_the_old_key_is_read_and_comes_under_the_new_one(
    tmp_path: Path, database_url: str
) -> None:
    path, cluster_id = tmp_path / "keys.json", uuid4()
    keys = KeyRing.load(path)
    old = keys.current
    async with opened(Database(database_url, store.Table.metadata, MIGRATIONS)) as db:
        for number in range(MANY):
            await keep(db, keys, cluster_id, f"p{number:03}")
        resealing = Resealing(db, keys, every_s=60)

        new = rotate(path)
        assert await opens(db, keys, cluster_id, "p000") == "secret of p000"
        keys.reload()
        assert await resealing.reseal() == MANY
        assert await used(db) == {new}
        assert await resealing.reseal() == 0

        drop(path, {old})
        keys.reload()
        assert keys.names == {new}
        assert await opens(db, keys, cluster_id, f"p{MANY - 1}") == f"secret of p{MANY - 1}"


async def test_text_that_does_not_open_stays_and_keeps_its_key_in_use(tmp_path: Path, database_url: str) -> None:
    cluster_id = uuid4()
    lost, keys = KeyRing.load(tmp_path / "lost.json"), KeyRing.load(tmp_path / "keys.json")
    async with opened(Database(database_url, store.Table.metadata, MIGRATIONS)) as db:
        await keep(db, lost, cluster_id, "ca")
        assert await Resealing(db, keys, every_s=60).reseal() == 0
        assert await used(db) == {lost.current}
        assert await opens(db, lost, cluster_id, "ca") == "secret of ca"


async def test_ring_that_cannot_be_read_for_a_while_ends_no_service(tmp_path: Path, database_url: str) -> None:
    path, cluster_id = tmp_path / "keys.json", uuid4()
    keys = KeyRing.load(path)
    async with opened(Database(database_url, store.Table.metadata, MIGRATIONS)) as db:
        await keep(db, keys, cluster_id, "ca")
        resealing = asyncio.create_task(Resealing(db, keys, every_s=0.01).run())
        path.rename(tmp_path / "elsewhere.json")
        await asyncio.sleep(0.1)
        new = rotate(tmp_path / "elsewhere.json")
        (tmp_path / "elsewhere.json").rename(path)
        await eventually(lambda: uses_only(db, new), saying="the text comes under the new key")
        assert not resealing.done()
        resealing.cancel()


def test_current_key_is_never_dropped(tmp_path: Path) -> None:
    keys = KeyRing.load(tmp_path / "keys.json")
    with pytest.raises(ValueError, match="current"):
        drop(tmp_path / "keys.json", {keys.current})


def test_dropped_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = KeyRing.load(path)
    sealed = before.seal("secret", "x")
    rotate(path)
    drop(path, {before.current})
    with pytest.raises(CannotOpen, match="not on the ring"):
        KeyRing.load(path).open(sealed, "x")


@pytest.mark.parametrize("service", ["api", "provisioner", "bootstrapper", "health", "dns"])
def test_columns_named_for_sealed_texts_say_what_those_are_sealed_for(service: str) -> None:
    importlib.import_module(f"caravan_{service}.app")
    metadata = importlib.import_module(f"caravan_{service}.store").Table.metadata
    named = {column for table in metadata.sorted_tables for column in table.columns if "sealed" in column.name}
    assert named <= {column for _, column, _ in sealed_columns(metadata)}
