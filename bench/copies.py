"""Make a fleet of one cluster: what the services and the sandbox keep of it, over and over under other names.

The one is made by a stack as any other, so that each store holds what its service keeps of a cluster at rest. Copies
have ids, names, authorities, machines and a control plane's address of their own; their workers' addresses are the
model's, for nobody connects to those. Copied is what a cluster's id or name is the key of: not what is only history
(timeline, runs, events), and no sealed texts but each copy's new authority. The stack has to be stopped meanwhile.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy import Table as SqlTable
from tests.support.postgres import dsn

from caravan_api.store import Table as Api
from caravan_bootstrapper.store import Table as Bootstrapper
from caravan_dns import pki
from caravan_dns.app import MIGRATIONS as DNS_MIGRATIONS
from caravan_dns.authority import Pki, ca_hash, make_pki
from caravan_dns.store import Table as Dns
from caravan_health.store import Table as Health
from caravan_provisioner.store import Table as Provisioner
from caravan_sandbox.settings import Settings as Sandbox
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealed_columns import sealed_columns
from caravan_shared.plumbing.sealing import KeyRing

_STORES: Mapping[str, MetaData] = {
    "api": Api.metadata,
    "provisioner": Provisioner.metadata,
    "bootstrapper": Bootstrapper.metadata,
    "dns": Dns.metadata,
    "health": Health.metadata,
}
_SANDBOX_TABLES: Mapping[str, str] = {
    "machines": "json_extract(body, '$.cluster') = :ca_hash",
    "clusters": "id = :ca_hash",
    "objects": "cluster = :ca_hash",
}
"""Which rows of the sandbox's tables are a cluster's."""


@dataclass(frozen=True)
class Member:
    """One cluster of the fleet, and the machine that its kube-apiserver is on."""

    id: UUID
    name: str
    machine_id: str
    address: str


@dataclass(frozen=True)
class _Written:
    """A member as it stands in rows: the same list of texts for each, so that one's replace another's."""

    member: Member
    authority: Pki
    machines: Sequence[str]
    """With what the ids of its machines begin."""

    def texts(self) -> list[str]:
        """As they are within JSON."""
        ca = self.authority.ca
        return [
            str(self.member.id),
            self.member.name,
            _in_json(ca.public),
            _in_json(ca.key),
            ca_hash(ca.public),
            f'"{self.member.address}"',
            *(f"{beginning}-" for beginning in self.machines),
        ]


async def copy(
    urls: Mapping[str, str], state_dir: Path, network: IPv4Network, model: tuple[UUID, str], names: Sequence[str]
) -> list[Member]:
    """Copies of the model, known by id and name, with these names: in the stores at `urls` and in the sandbox's file.

    Returns the copies and the model itself, which is the last.
    """
    cluster_id, name = model
    keys = KeyRing.load(state_dir / "keys.json")
    dns = Database(urls["dns"], Dns.metadata, DNS_MIGRATIONS)
    await dns.start()
    with sqlite3.connect(Sandbox(state_dir=state_dir).database) as cloud:
        async with dns.reading() as session:
            written = _find(cloud, cluster_id, name, await pki.opened(session, keys, cluster_id))
        copies = list(_name(written, names, _free_addresses(cloud, network)))
        _copy_far_end(cloud, written, copies)
    cloud.close()
    async with dns.transaction() as tx:
        for each in copies:
            await pki.keep(tx, keys, each.member.id, each.authority)
    await dns.stop()
    for service, metadata in _STORES.items():
        await _copy_store(urls[service], metadata, written, copies)
    await _spread_announcements(urls["api"])
    return [each.member for each in (*copies, written)]


def _find(cloud: sqlite3.Connection, cluster_id: UUID, name: str, authority: Pki) -> _Written:
    """The model as the sandbox has it."""
    machines = [
        json.loads(body)
        for (body,) in cloud.execute(
            f"SELECT body FROM machines WHERE {_SANDBOX_TABLES['machines']}",
            {"ca_hash": ca_hash(authority.ca.public)},
        )
    ]
    (first,) = (machine for machine in machines if machine["control_plane"])
    member = Member(cluster_id, name, first["id"], first["address"])
    return _Written(member, authority, sorted({_beginning(machine["id"]) for machine in machines}))


def _name(model: _Written, names: Sequence[str], addresses: Iterator[str]) -> Iterator[_Written]:
    """What to call each copy. A machine's id begins with the time of its making, so that some seconds later is free."""
    assert len(model.machines) <= 2, "the model's machines were made within a minute"
    for number, name in enumerate(names, 1):
        machines = [f"{int(beginning, 16) + 2 * number:08x}" for beginning in model.machines]
        old = model.member.machine_id
        machine_id = machines[model.machines.index(_beginning(old))] + old.removeprefix(_beginning(old))
        member = Member(uuid4(), name, machine_id, next(addresses))
        yield _Written(member, make_pki(datetime.now(UTC)), machines)


def _beginning(machine_id: str) -> str:
    return machine_id.partition("-")[0]


def _free_addresses(cloud: sqlite3.Connection, network: IPv4Network) -> Iterator[str]:
    taken = {address for (address,) in cloud.execute("SELECT json_extract(body, '$.address') FROM machines")}
    return (str(address) for address in network.hosts() if str(address) not in taken)


# --- rows ------------------------------------------------------------------------------------------------------------


def _copy_far_end(cloud: sqlite3.Connection, model: _Written, copies: Sequence[_Written]) -> None:
    """In SQLite: a row's columns are texts or JSON, so that each is copied by itself."""
    old = model.texts()
    names = [f"text_{number}" for number in range(len(old))]
    cloud.execute(f"CREATE TEMP TABLE copies ({', '.join(names)})")
    cloud.executemany(f"INSERT INTO copies VALUES ({', '.join('?' * len(old))})", [each.texts() for each in copies])
    for table, is_its in _SANDBOX_TABLES.items():
        kinds = {row[1]: row[2] for row in cloud.execute(f"PRAGMA table_info({table})")}
        made = ", ".join(
            f"CAST({_replaced(f'CAST({column} AS TEXT)', old)} AS {kind})" for column, kind in kinds.items()
        )
        cloud.execute(
            f"INSERT INTO {table} SELECT {made} FROM {table}, copies WHERE {is_its}",
            {"ca_hash": ca_hash(model.authority.ca.public)},
        )


async def _copy_store(url: str, metadata: MetaData, model: _Written, copies: Sequence[_Written]) -> None:
    """In PostgreSQL: whole rows as JSON and back."""
    connection = await asyncpg.connect(dsn(url))
    old, has_secrets = model.texts(), {table for table, _, _ in sealed_columns(metadata)}
    columns = ", ".join(f"text_{number} text" for number in range(len(old)))
    await connection.execute(f"CREATE TEMP TABLE copies ({columns})")
    await connection.copy_records_to_table("copies", records=[each.texts() for each in copies])
    for table in metadata.sorted_tables:
        if table not in has_secrets:
            await connection.execute(_copies_of_rows(table, model))
    await connection.execute("ANALYZE")
    await connection.close()


def _copies_of_rows(table: SqlTable, model: _Written) -> str:
    key = " || ' ' || ".join(f'model."{column.name}"::text' for column in table.primary_key)
    made = f'jsonb_populate_record(NULL::"{table.name}", ({_replaced("to_jsonb(model)::text", model.texts())})::jsonb)'
    return (
        f'INSERT INTO "{table.name}" SELECT made.* FROM "{table.name}" AS model, copies, LATERAL {made} AS made '
        f"WHERE {key} LIKE '%{model.member.id}%' OR {key} LIKE '%{model.member.name}%'"
    )


def _replaced(text: str, old: Sequence[str]) -> str:
    """The SQL that puts a copy's texts in place of the model's."""
    return reduce(lambda sql, one: f"replace({sql}, '{one[1]}', text_{one[0]})", enumerate(old), text)


async def _spread_announcements(url: str) -> None:
    """As in an installation that has grown: a settled cluster is announced again once an hour, each at its time."""
    connection = await asyncpg.connect(dsn(url))
    await connection.execute("UPDATE cluster SET announced_at = now() - random() * interval '1 hour'")
    await connection.close()


def _in_json(text: str) -> Any:
    return json.dumps(text)[1:-1]
