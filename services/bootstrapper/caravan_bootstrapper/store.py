"""The bootstrapper's tables: clusters, nodes, runs, sealed join tokens; and how a decision's view is read from them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger
from sqlmodel import Field, SQLModel, and_, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper.views import ACTIVE, ClusterView, Failure, NodeView, Play, RunState, RunView
from caravan_shared.contracts.facts import Connection, WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MembershipState, Verdict
from caravan_shared.plumbing.database import UtcDateTime, service_metadata
from caravan_shared.plumbing.sealed_columns import sealed


class Table(SQLModel):
    """Base of every table of this service."""

    metadata = service_metadata()


class Cluster(Table, table=True):
    """A cluster that was heard of. Without a spec only facts about it came so far; with `deleted_at`, a tombstone."""

    __tablename__ = "clusters"

    cluster_id: UUID = Field(primary_key=True)
    name: str = ""
    generation: int = 0
    retry: int = 0
    announcement: int = 0
    said_announcement: int = 0
    spec: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    deletion_asked: bool = False
    asleep: bool = False
    """Its machines are stopped on purpose, as of the newest announcement."""
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    complete_generation: int = 0
    done_generation: int = 0
    first_node: str | None = None
    set_up_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    patience_from: datetime | None = Field(default=None, sa_type=UtcDateTime)
    told_held: str | None = None
    """What was said last to wait for the maintenance window."""

    failures: int = 0
    failed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failure: str | None = None
    who_can_fix: str | None = None
    failed_run: UUID | None = None
    given_up: bool = False
    backed_up_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    endpoint_sequence: int = Field(default=0, sa_type=BigInteger)
    endpoint_host: str = ""
    endpoint_port: int = 0
    endpoint_addresses: list[str] = Field(default_factory=list, sa_type=JSON)
    ca_hash: str | None = None
    join_endpoint: str | None = None


class Node(Table, table=True):
    """A node that was heard of, removed ones included: a late fact must not revive them."""

    __tablename__ = "nodes"

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    node_set: str
    state: str = MembershipState.WAITING
    role: str | None = None
    machine_id: str = ""
    address: str = ""
    connection: str = Connection.SANDBOX
    joins_by_itself: bool = False
    ssh_user: str = "root"
    ssh_port: int = 22
    host_keys: list[str] = Field(default_factory=list, sa_type=JSON)
    ready_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    leaving: bool = False
    gone: bool = False
    version: str | None = None
    upgraded_to: str | None = None
    unfinished: str | None = None
    verdict: str = Verdict.UNKNOWN
    verdict_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    verdict_sequence: int = Field(default=0, sa_type=BigInteger)
    renewed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failures: int = 0
    failed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failure: str | None = None
    failed_play: str | None = None
    told: str | None = None
    blamed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Run(Table, table=True):
    """One execution of a playbook."""

    __tablename__ = "runs"

    id: UUID = Field(primary_key=True)
    cluster_id: UUID = Field(index=True)
    play: str
    nodes: list[str] = Field(sa_type=JSON)
    manager: str | None = None
    version: str
    upgrade_first: bool = False
    """The version is new to every control plane: its one node takes the cluster's configuration there."""
    note: str = ""
    generation: int
    state: str = RunState.PENDING
    owner: str
    """The replica (`settings.instance`) whose process drives it."""
    beat_at: datetime = Field(sa_type=UtcDateTime)
    step: str | None = None
    step_number: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failure: str | None = None


class LogPiece(Table, table=True):
    """A piece of what Ansible printed in a run; see `logs`."""

    __tablename__ = "log_pieces"

    run_id: UUID = Field(primary_key=True)
    start: int = Field(primary_key=True)
    """Its place in the whole log, in characters."""
    ending: int
    text: str


def join_token_context(cluster_id: UUID) -> str:
    """What a cluster's join tokens are sealed for."""
    return f"{cluster_id}/join-token"


def ssh_key_context(cluster_id: UUID) -> str:
    """What a cluster's SSH key is sealed for."""
    return f"{cluster_id}/ssh-key"


def operator_key_context(cloud: str) -> str:
    """What the SSH key of an inventory's operator is sealed for."""
    return f"{cloud}/operator-key"


class JoinToken(Table, table=True):
    """A kubeadm bootstrap token of one node set. The newest of a set is in use; older ones live until they expire."""

    __tablename__ = "join_tokens"

    token_id: str = Field(primary_key=True, max_length=6)
    cluster_id: UUID = Field(index=True)
    node_set: str
    sealed: str = Field(sa_column_kwargs=sealed(lambda row: join_token_context(row.cluster_id)))
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ensured: bool = False
    """The running cluster knows it."""


class SshKey(Table, table=True):
    """The key pair that lets us into a cluster's machines, OpenSSH texts."""

    __tablename__ = "ssh_keys"

    cluster_id: UUID = Field(primary_key=True)
    public: str
    sealed_private: str = Field(sa_column_kwargs=sealed(lambda row: ssh_key_context(row.cluster_id)))


class OperatorKey(Table, table=True):
    """The key pair that lets us into the machines of an inventory, OpenSSH texts."""

    __tablename__ = "operator_keys"

    cloud: str = Field(primary_key=True)
    public: str
    sealed_private: str = Field(sa_column_kwargs=sealed(lambda row: operator_key_context(row.cloud)))


IsAlive = Callable[[Run], bool]


async def view(session: AsyncSession, cluster_id: UUID, is_alive: IsAlive) -> ClusterView | None:
    """All that a decision needs; None where no spec is known or the cluster is deleted."""
    cluster = await session.get(Cluster, cluster_id)
    if cluster is None or cluster.spec is None or cluster.deleted_at is not None:
        return None
    return ClusterView(
        cluster_id=cluster_id,
        name=cluster.name,
        generation=cluster.generation,
        spec=ClusterSpec.model_validate(cluster.spec),
        announcement=cluster.announcement,
        said_announcement=cluster.said_announcement,
        complete_generation=cluster.complete_generation,
        done_generation=cluster.done_generation,
        deletion_asked=cluster.deletion_asked,
        asleep=cluster.asleep,
        first_node=cluster.first_node,
        set_up_at=cluster.set_up_at,
        patience_from=cluster.patience_from,
        failures=cluster.failures,
        failure=_failure(cluster),
        given_up=cluster.given_up,
        endpoint_host=cluster.endpoint_host,
        endpoint_port=cluster.endpoint_port,
        endpoint_addresses=tuple(cluster.endpoint_addresses),
        nodes=await nodes(session, cluster_id),
        runs=await _active_runs(session, cluster_id, is_alive),
        tokens_to_ensure=await _tokens_to_ensure(session, cluster_id),
        backed_up_at=cluster.backed_up_at,
        told_held=cluster.told_held,
    )


async def live_keys(session: AsyncSession) -> list[str]:
    """Every cluster that is not a tombstone."""
    found = await session.exec(select(Cluster.cluster_id).where(Cluster.deleted_at == None))  # noqa: E711
    return [str(cluster_id) for cluster_id in found]


async def open_cluster(tx: AsyncSession, cluster_id: UUID) -> Cluster | None:
    """The cluster's row, made if this is the first word of it; None for a tombstone, which no late fact revives."""
    cluster = await tx.get(Cluster, cluster_id)
    if cluster is None:
        cluster = Cluster(cluster_id=cluster_id)
        tx.add(cluster)
        await tx.flush()
    return None if cluster.deleted_at else cluster


async def nodes(session: AsyncSession, cluster_id: UUID) -> tuple[NodeView, ...]:
    """The cluster's nodes without those that are over: machine gone, and no member left behind by it."""
    table: Any = Node
    over = and_(table.gone, table.state.not_in([MembershipState.JOINED, MembershipState.DRAINING]))
    columns = [getattr(table, name) for name in NodeView.__dataclass_fields__]
    rows = await session.exec(select(*columns).where(table.cluster_id == cluster_id, ~over).order_by(table.name))
    return tuple(_node_view(dict(row)) for row in rows.mappings())


def _node_view(row: dict[str, Any]) -> NodeView:
    row["state"] = MembershipState(row["state"])
    row["role"] = Role(row["role"]) if row["role"] else None
    row["connection"] = Connection(row["connection"])
    row["host_keys"] = tuple(row["host_keys"])
    row["unfinished"] = Play(row["unfinished"]) if row["unfinished"] else None
    row["verdict"] = Verdict(row["verdict"])
    return NodeView(**row)


def _failure(cluster: Cluster) -> Failure | None:
    if cluster.failed_at is None or cluster.failure is None:
        return None
    who = WhoCanFix(cluster.who_can_fix or WhoCanFix.OPERATOR)
    return Failure(at=cluster.failed_at, reason=cluster.failure, who_can_fix=who, run_id=cluster.failed_run)


async def _active_runs(session: AsyncSession, cluster_id: UUID, is_alive: IsAlive) -> tuple[RunView, ...]:
    table: Any = Run
    found = await session.exec(select(Run).where(table.cluster_id == cluster_id, table.state.in_(ACTIVE)))
    return tuple(RunView(run.id, Play(run.play), alive=is_alive(run), state=RunState(run.state)) for run in found)


async def was_tried(session: AsyncSession, cluster_id: UUID, play: Play) -> bool:
    """A run of this play has ended for the cluster."""
    table: Any = Run
    earlier = select(table.id).where(table.cluster_id == cluster_id, table.play == play, table.ended_at.is_not(None))
    return (await session.exec(earlier.limit(1))).first() is not None


async def _tokens_to_ensure(session: AsyncSession, cluster_id: UUID) -> int:
    table: Any = JoinToken
    unknown = select(func.count()).select_from(table).where(table.cluster_id == cluster_id, ~table.ensured)
    return (await session.exec(unknown)).one()
