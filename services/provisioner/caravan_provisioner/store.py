"""The provisioner's tables: what was asked for, and a copy of what the clouds have.

Two writers share them without treading on each other: handlers write what others said (`Cluster`'s upper half,
`drained_at` and `NodeNews`), the reconciler writes all else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, bindparam, case, delete, func, insert, update
from sqlalchemy import Table as SqlTable
from sqlalchemy import exists as sql_exists
from sqlalchemy import select as sql_select
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner.nodes import Node, SetProgress
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MachineState, Verdict
from caravan_shared.plumbing.database import UtcDateTime, service_metadata, upsert


class Table(SQLModel):
    """Base of the provisioner's tables."""

    metadata = service_metadata()


class Cluster(Table, table=True):
    """A cluster as asked for, and how much of it was told. A deleted one stays for a while as a tombstone."""

    __tablename__ = "clusters"

    cluster_id: UUID = Field(primary_key=True)
    team: str
    name: str
    cloud: str | None = None
    """Where its machines are; None if only its deletion was heard of."""
    generation: int = 0
    announcement: int = 0
    retry: int = 0
    retried_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the last retry was asked for."""
    replacing: list[str] = Field(default_factory=list, sa_type=JSON)
    """Names of nodes that a person wants replaced, as of the newest announcement."""
    asleep: bool = False
    power_generation: int = 0
    """How often the cluster was put to sleep or woken, as of the newest announcement."""
    power_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When that was heard first."""
    verdict: str | None = None
    """What health believes of the cluster, by its telling with the highest number."""
    verdict_sequence: int = Field(default=0, sa_type=BigInteger)
    spec_json: str | None = None
    heard_at: datetime = Field(sa_type=UtcDateTime)
    deletion_announcement: int = 0
    """0: it is wanted."""
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)

    told_announcement: int = 0
    told_deletion: int = 0
    complete_generation: int = 0
    """The newest generation of which `nodes.ready` said `complete`."""
    power_reached: int = 0
    """The newest `power_generation` of which `nodes.power_changed` said `complete`."""
    told_power: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """What `nodes.power_changed` said last."""

    @property
    def spec(self) -> ClusterSpec:
        """What was asked for. Only a cluster that was requested has one."""
        assert self.spec_json
        return ClusterSpec.model_validate_json(self.spec_json)


class NodeRow(Table, table=True):
    """A node; the columns are the fields of `nodes.Node`, which says what they mean."""

    __tablename__ = "nodes"

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    node_set: str
    role: str
    batch: str
    number: int
    machine_type: str
    cloud: str = ""
    planned_at: datetime = Field(sa_type=UtcDateTime)
    state: str
    since: datetime = Field(sa_type=UtcDateTime)
    joins_by_itself: bool
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    machine_id: str | None = None
    address: str | None = None
    host_keys: list[str] = Field(default_factory=list, sa_type=JSON)
    ssh_port: int = 22
    virtual_ip: str | None = None
    listed: bool
    missing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ready_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    drained_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reboot_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    rebooted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reboot_refused: str | None = None
    reason: str | None = None
    who_can_fix: str | None = None
    said: str | None = None
    held: str | None = None
    said_held: str | None = None


class NodeNews(Table, table=True):
    """What others said of a node, whether or not it is known here; `nodes.Node` has what the columns mean."""

    __tablename__ = "node_news"

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    joined_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    verdict: str | None = None
    verdict_reason: str | None = None
    verdict_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    verdict_sequence: int = Field(default=0, sa_type=BigInteger)
    heard_at: datetime = Field(sa_type=UtcDateTime)


class SetRow(Table, table=True):
    """How the replacing of a set's failed nodes goes; the columns are the fields of `nodes.SetProgress`."""

    __tablename__ = "node_sets"

    cluster_id: UUID = Field(primary_key=True)
    node_set: str = Field(primary_key=True)
    generation: int
    retry: int
    attempts: int
    last_failure_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    gave_up: bool


class Installation(Table, table=True):
    """Who we are to the clouds: one row."""

    __tablename__ = "installation"

    row: int = Field(default=1, primary_key=True)
    installation: str


class SweepSighting(Table, table=True):
    """A machine of ours that seems to belong to nobody, and what the sweep does about it."""

    __tablename__ = "sweep_sightings"

    cloud: str = Field(primary_key=True)
    machine_id: str = Field(primary_key=True)
    name: str
    cluster_id: UUID
    reason: str
    verdict: str
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)


class SweepHold(Table, table=True):
    """While its row is there, machines of clusters that the store does not know are kept: the store is an old copy."""

    __tablename__ = "sweep_hold"

    row: int = Field(default=1, primary_key=True)
    since: datetime = Field(sa_type=UtcDateTime)


_NODES: SqlTable = cast("Any", NodeRow).__table__
_NEWS: SqlTable = cast("Any", NodeNews).__table__
_SETS: SqlTable = cast("Any", SetRow).__table__
_NODE_KEY = ("cluster_id", "name")
_HEARD = ("joined_at", "verdict", "verdict_reason", "verdict_since")
_NOT_OURS = {*_NODE_KEY, "drained_at", *_HEARD}
_OWN_NODE_COLUMNS = [field.name for field in fields(Node) if field.name not in _NOT_OURS]
_SAME_NODE = (_NODES.c.cluster_id == _NEWS.c.cluster_id) & (_NODES.c.name == _NEWS.c.name)
_NODES_WITH_NEWS = sql_select(_NODES, *(_NEWS.c[name] for name in _HEARD)).select_from(
    _NODES.outerjoin(_NEWS, _SAME_NODE)
)
_INSERT_NODE = insert(_NODES)
_UPDATE_NODE = (
    update(_NODES)
    .where(_NODES.c.cluster_id == bindparam("_cluster_id"), _NODES.c.name == bindparam("_name"))
    .values({column: bindparam(column) for column in _OWN_NODE_COLUMNS})
)


async def nodes_of(session: AsyncSession, cluster_id: UUID) -> dict[str, Node]:
    """Every node of a cluster, removed ones included, by name."""
    rows = await (await session.connection()).execute(_NODES_WITH_NEWS.where(_NODES.c.cluster_id == cluster_id))
    return {row.name: _node(row._asdict()) for row in rows}


async def sets_of(session: AsyncSession, cluster_id: UUID) -> dict[str, SetProgress]:
    """The progress of each set of a cluster, by name."""
    rows = await (await session.connection()).execute(_SETS.select().where(_SETS.c.cluster_id == cluster_id))
    return {row.node_set: SetProgress(**row._mapping) for row in rows}


async def save_nodes(tx: AsyncSession, stored: Mapping[str, Node], changed: Iterable[Node]) -> None:
    """Write nodes: those that `stored` lacks are new. One statement each, whatever their number."""
    new = [
        {column: value for column, value in asdict(node).items() if column not in _HEARD}
        for node in changed
        if node.name not in stored
    ]
    old = [
        {"_cluster_id": node.cluster_id, "_name": node.name}
        | {column: getattr(node, column) for column in _OWN_NODE_COLUMNS}
        for node in changed
        if node.name in stored
    ]
    connection = await tx.connection()
    if new:
        await connection.execute(_INSERT_NODE, new)
    if old:
        await connection.execute(_UPDATE_NODE, old)


async def save_sets(tx: AsyncSession, changed: Iterable[SetProgress]) -> None:
    """Write the progress of sets."""
    key = ("cluster_id", "node_set")
    columns = [field.name for field in fields(SetProgress) if field.name not in key]
    await upsert(tx, SetRow, [asdict(progress) for progress in changed], key=key, update=columns)


async def save_told(tx: AsyncSession, cluster: Cluster) -> None:
    """Write how much of the cluster was told."""
    await tx.exec(
        update(Cluster)
        .where(col(Cluster.cluster_id) == cluster.cluster_id)
        .values(
            told_announcement=cluster.told_announcement,
            told_deletion=cluster.told_deletion,
            complete_generation=cluster.complete_generation,
            power_reached=cluster.power_reached,
            told_power=cluster.told_power,
        )
    )


async def forget(tx: AsyncSession, cluster_id: UUID) -> None:
    """Drop a cluster's nodes and sets."""
    await tx.exec(delete(NodeRow).where(col(NodeRow.cluster_id) == cluster_id))
    await tx.exec(delete(NodeNews).where(col(NodeNews.cluster_id) == cluster_id))
    await tx.exec(delete(SetRow).where(col(SetRow.cluster_id) == cluster_id))


async def prune(tx: AsyncSession, before: datetime) -> None:
    """Drop tombstones older than `before`: nothing that old can still arrive."""
    await tx.exec(delete(Cluster).where(col(Cluster.deleted_at) < before))
    await tx.exec(delete(NodeRow).where(col(NodeRow.state) == MachineState.REMOVED.value, col(NodeRow.since) < before))
    known = sql_exists().where(_NODES.c.cluster_id == _NEWS.c.cluster_id, _NODES.c.name == _NEWS.c.name)
    await tx.exec(delete(NodeNews).where(col(NodeNews.heard_at) < before, ~known))


async def live_keys(session: AsyncSession) -> list[str]:
    """The clusters that are not deleted."""
    found = await session.exec(select(Cluster.cluster_id).where(col(Cluster.deleted_at).is_(None)))
    return [str(cluster_id) for cluster_id in found]


async def installation(tx: AsyncSession) -> str:
    """This installation's id, made at the first call ever."""
    await upsert(tx, Installation, [{"row": 1, "installation": str(uuid4())}], key=("row",), update=())
    return (await tx.exec(select(Installation.installation))).one()


async def count_silent(session: AsyncSession) -> list[tuple[str, int, int]]:
    """For each cloud: its name, how many nodes health cannot reach, and of how many. What sleeps is not counted."""
    is_silent = case((_NEWS.c.verdict == Verdict.UNREACHABLE.value, 1), else_=0)
    awake = select(Cluster.cluster_id).where(~col(Cluster.asleep))
    rows = await (await session.connection()).execute(
        sql_select(_NODES.c.cloud, func.sum(is_silent), func.count())
        .select_from(_NODES.outerjoin(_NEWS, _SAME_NODE))
        .where(_NODES.c.state == MachineState.READY.value, _NODES.c.cluster_id.in_(awake))
        .group_by(_NODES.c.cloud)
    )
    return [(cloud, int(silent), of) for cloud, silent, of in rows]


async def clusters_known(session: AsyncSession) -> tuple[set[UUID], set[UUID]]:
    """The ids of live and of deleted clusters."""
    live: set[UUID] = set()
    deleted: set[UUID] = set()
    for cluster_id, deleted_at in await session.exec(select(Cluster.cluster_id, Cluster.deleted_at)):
        (deleted if deleted_at else live).add(cluster_id)
    return live, deleted


async def hold_sweep(tx: AsyncSession, now: datetime) -> None:
    """Keep machines of unknown clusters until `release_sweep`."""
    await upsert(tx, SweepHold, [{"row": 1, "since": now}], key=("row",), update=())


async def release_sweep(tx: AsyncSession) -> None:
    """Let the sweep delete machines of unknown clusters again."""
    await tx.exec(delete(SweepHold))


async def sweep_is_held(session: AsyncSession) -> bool:
    """Whether machines of unknown clusters are kept."""
    return (await session.exec(select(SweepHold))).first() is not None


def _node(row: Mapping[str, Any]) -> Node:
    return Node(
        **{
            **row,
            "role": Role(row["role"]),
            "state": MachineState(row["state"]),
            "who_can_fix": WhoCanFix(row["who_can_fix"]) if row["who_can_fix"] else None,
            "said": MachineState(row["said"]) if row["said"] else None,
            "verdict": Verdict(row["verdict"]) if row["verdict"] else None,
            "host_keys": tuple(row["host_keys"]),
        }
    )
