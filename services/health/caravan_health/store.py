"""What health keeps: whom to watch (heard), what it believes (decided), how that went, who shares the work."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Column, Enum, Index, update
from sqlmodel import Field, SQLModel, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_health.target import Target
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.database import UtcDateTime, service_metadata, upsert

_VERDICT = Enum(  # stored as its own words, in a plain string column on every database
    Verdict, native_enum=False, create_constraint=False, length=16, values_callable=lambda kind: [v.value for v in kind]
)


class Table(SQLModel):
    """Base of this service's tables."""

    metadata = service_metadata()


class Watched(Table, table=True):
    """A cluster as heard of. `version` rises with every change, so that a prober sees what to load again."""

    cluster_id: UUID = Field(primary_key=True)
    version: int = 0
    started: bool = False
    endpoint_sequence: int = Field(default=-1, sa_type=BigInteger)
    host: str = ""
    port: int = 0
    addresses: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    virtual_ip: str | None = None
    ca_certificate: str = ""
    announcement: int = 0
    said_announcement: int = 0
    asleep: bool = False
    """Its machines are stopped on purpose: nobody asks it."""
    woken_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it last was to sleep no more."""
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WatchedNode(Table, table=True):
    """A node as heard of; its name is never used again, so a removed one stays as a tombstone for a while."""

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    joined: bool = False
    leaving: bool = False
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ClusterHealth(Table, table=True):
    """The verdict on a cluster. Only the replica in `watcher` may change it."""

    cluster_id: UUID = Field(primary_key=True)
    watcher: str
    verdict: Verdict = Field(sa_type=_VERDICT)
    reason: str
    since: datetime = Field(sa_type=UtcDateTime)
    nodes_ready: int = 0
    nodes_seen: int = 0
    checked_at: datetime = Field(sa_type=UtcDateTime)
    rolled_up_to: datetime = Field(sa_type=UtcDateTime)


class NodeHealth(Table, table=True):
    """The verdict on a node."""

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    verdict: Verdict = Field(sa_type=_VERDICT)
    reason: str
    since: datetime = Field(sa_type=UtcDateTime)


class Transition(Table, table=True):
    """One change of a cluster's verdict."""

    __table_args__ = (Index("ix_transition_cluster_at", "cluster_id", "at"),)

    id: int | None = Field(default=None, primary_key=True)
    cluster_id: UUID
    at: datetime = Field(sa_type=UtcDateTime)
    old: Verdict = Field(sa_type=_VERDICT)
    new: Verdict = Field(sa_type=_VERDICT)
    reason: str


class HealthHour(Table, table=True):
    """How many seconds of one hour a cluster spent in each verdict."""

    cluster_id: UUID = Field(primary_key=True)
    hour: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    healthy_s: float = 0.0
    degraded_s: float = 0.0
    unreachable_s: float = 0.0
    unknown_s: float = 0.0


class Replica(Table, table=True):
    """A running prober and its last heartbeat."""

    name: str = Field(primary_key=True)
    beat_at: datetime = Field(sa_type=UtcDateTime)


# --- facts heard -----------------------------------------------------------------------------------------------------


async def change_watched(tx: AsyncSession, cluster_id: UUID, *only_if: Any, **values: Any) -> None:
    """Set `values` on a cluster's row (made if need be) where `only_if` holds, and raise its version."""
    await upsert(tx, Watched, [Watched(cluster_id=cluster_id).model_dump()], key=("cluster_id",), update=())
    change = update(Watched).where(col(Watched.cluster_id) == cluster_id, *only_if)
    await tx.exec(change.values(version=Watched.version + 1, **values))


async def change_nodes(tx: AsyncSession, cluster_id: UUID, names: Iterable[str], **values: Any) -> None:
    """Set `values` on nodes' rows, made if need be."""
    fresh = WatchedNode(cluster_id=cluster_id, name="", **values).model_dump()
    rows = [fresh | {"name": name} for name in dict.fromkeys(names)]
    await upsert(tx, WatchedNode, rows, key=("cluster_id", "name"), update=tuple(values))
    await change_watched(tx, cluster_id)


# --- work left to the reconciler -------------------------------------------------------------------------------------


async def live_keys(session: AsyncSession) -> list[str]:
    """Clusters to say facts of again, and deleted ones of which something is left."""
    unsaid = col(Watched.announcement) > col(Watched.said_announcement)
    left_behind = col(Watched.cluster_id).in_(select(ClusterHealth.cluster_id))
    gone = col(Watched.deleted_at).is_not(None)
    ids = await session.exec(select(Watched.cluster_id).where(or_(~gone & unsaid, gone & left_behind)))
    return [str(cluster_id) for cluster_id in ids]


# --- targets ---------------------------------------------------------------------------------------------------------

_WATCHABLE = (
    col(Watched.deleted_at).is_(None),
    col(Watched.started).is_(True),
    col(Watched.host) != "",
    ~col(Watched.asleep),
)


async def versions(session: AsyncSession) -> dict[UUID, int]:
    """Every cluster to watch, with its version."""
    rows = await session.exec(select(Watched.cluster_id, Watched.version).where(*_WATCHABLE))
    return dict(rows.all())


async def targets(session: AsyncSession, cluster_ids: list[UUID]) -> list[Target]:
    """The clusters to watch among these, with their nodes."""
    rows = await session.exec(select(Watched).where(*_WATCHABLE, col(Watched.cluster_id).in_(cluster_ids)))
    of_these, staying = col(WatchedNode.cluster_id).in_(cluster_ids), col(WatchedNode.removed_at).is_(None)
    # Columns, not objects: a replica that takes over has tens of thousands of nodes to read, and its looks wait.
    columns = select(WatchedNode.cluster_id, WatchedNode.name, WatchedNode.joined, WatchedNode.leaving)
    nodes: dict[UUID, list[_Node]] = {}
    for cluster_id, name, joined, leaving in (await session.exec(columns.where(of_these, staying))).all():
        nodes.setdefault(cluster_id, []).append(_Node(name, joined, leaving))
    return [_target(row, nodes.get(row.cluster_id, [])) for row in rows]


async def ways_in(session: AsyncSession, cluster_ids: list[UUID]) -> list[Target]:
    """The clusters to watch among these, without their nodes, which may be many: enough to ask whether they answer."""
    rows = await session.exec(select(Watched).where(*_WATCHABLE, col(Watched.cluster_id).in_(cluster_ids)))
    return [_target(row, []) for row in rows]


class _Node(NamedTuple):
    name: str
    joined: bool
    leaving: bool


def _target(row: Watched, nodes: list[_Node]) -> Target:
    return Target(
        row.cluster_id,
        row.version,
        row.host,
        row.port,
        tuple(row.addresses),
        row.ca_certificate,
        virtual_ip=row.virtual_ip,
        woken_at=row.woken_at,
        nodes=frozenset(node.name for node in nodes if not node.leaving),
        joined=frozenset(node.name for node in nodes if node.joined and not node.leaving),
        leaving=frozenset(node.name for node in nodes if node.leaving),
    )
