"""What a store of an earlier release holds is still there, and right, after the migrations of this one."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from caravan_api.app import MIGRATIONS
from caravan_api.store import Table
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.migrations import upgrade


async def test_each_virtual_ip_is_found_on_its_control_planes_cloud(database_url: str) -> None:
    engine = create_async_engine(database_url)
    await upgrade(engine, Table.metadata, MIGRATIONS, "0003")
    own = {"network": {"virtual_ip": "10.0.0.9"}, "control_plane": {"cloud": "halls"}}
    async with engine.begin() as connection:
        await _insert_cluster(connection, "mixed", "10.0.0.9", own)
        await _insert_cluster(connection, "plain", "10.0.0.9", {"network": {"virtual_ip": "10.0.0.9"}}, cloud="other")
        await _insert_cluster(connection, "none", None, {})

    await upgrade(engine, Table.metadata, MIGRATIONS)
    async with engine.begin() as connection:
        found = (await connection.execute(sa.text("SELECT name, virtual_ip_cloud FROM cluster"))).all()
    assert {row.name: row.virtual_ip_cloud for row in found} == {"mixed": "halls", "plain": "other", "none": None}
    await engine.dispose()


async def test_every_lease_that_is_not_over_is_looked_at_once_and_the_others_never(database_url: str) -> None:
    engine = create_async_engine(database_url)
    await upgrade(engine, Table.metadata, MIGRATIONS, "0007")
    then = datetime(2026, 1, 1, tzinfo=UTC)
    async with engine.begin() as connection:
        await _insert_lease(connection, "held", asked_at=then, ended_at=None)
        await _insert_lease(connection, "over", asked_at=then, ended_at=then)

    await upgrade(engine, Table.metadata, MIGRATIONS)
    lease = Table.metadata.tables["lease"].columns
    async with engine.begin() as connection:
        found = (await connection.execute(sa.select(lease.holder, lease.due_at))).all()
    assert {row.holder: row.due_at for row in found} == {"held": then, "over": None}
    await engine.dispose()


async def _insert_lease(
    connection: AsyncConnection, holder: str, asked_at: datetime, ended_at: datetime | None
) -> None:
    row: dict[str, Any] = {
        **dict.fromkeys(("id", "pool_id"), uuid4()),
        **dict.fromkeys(("pool", "team", "state"), "any"),
        **dict.fromkeys(("asked_at", "heard_at"), asked_at),
        "holder": holder,
        "labels": {},
        "lasts_s": 60,
        "warned": False,
        "ended_at": ended_at,
    }
    await _insert(connection, "lease", row)


async def _insert(connection: AsyncConnection, name: str, row: dict[str, Any]) -> None:
    """Into the table as it was: of these columns alone."""
    now = Table.metadata.tables[name].columns
    then = sa.table(name, *(sa.column(column, now[column].type) for column in row))
    await connection.execute(sa.insert(then).values(row))


async def _insert_cluster(
    connection: AsyncConnection, name: str, virtual_ip: str | None, spec: dict[str, Any], cloud: str = "racks"
) -> None:
    """A row as the release that ends with that revision would have written it."""
    row: dict[str, Any] = {
        "id": uuid4(),
        "name": name,
        "team": "default",
        "created_by": "tester",
        "phase": "Ready",
        "facts": {},
        **dict.fromkeys(("created_at", "updated_at", "announced_at"), datetime(2026, 1, 1, tzinfo=UTC)),
        **dict.fromkeys(("generation", "revision", "announcement", "nodes_wanted"), 1),
        **dict.fromkeys(("retry", "unanswered", "change"), 0),
        "version": "1.34.2",
        "cloud": cloud,
        "virtual_ip": virtual_ip,
        "simulated": False,
        "replacing": [],
        "node_sets": [],
        "spec": ClusterSpec.model_validate({**ClusterSpec.example, "cloud": cloud, **spec}).model_dump(mode="json"),
    }
    await _insert(connection, "cluster", row)
