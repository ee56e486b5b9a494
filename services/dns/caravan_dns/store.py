"""The dns service's own tables, and the few ways they are read and written.

Facts heard are kept in columns that only move one way (a flag that rises, a number that grows), so that it does not
matter in which order or how often they come.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ColumnElement, case, delete, or_, true, update
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.database import UtcDateTime, service_metadata, upsert
from caravan_shared.plumbing.sealed_columns import sealed


class Table(SQLModel):
    """Base of every table of this service."""

    metadata = service_metadata()


class Cluster(Table, table=True):
    """A cluster as far as its name and credentials go."""

    __tablename__ = "clusters"

    id: UUID = Field(primary_key=True)
    team: str = ""
    name: str = ""
    announcement: int = 0
    """The highest telling of `cluster.requested`; 0: never heard."""
    deletion_announcement: int = 0
    """The highest telling of `cluster.deletion_requested`; 0: never heard."""
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Set once `cluster.deleted` came: the row is then a tombstone, against late facts."""
    first_node: str | None = None
    """Where kubeadm starts."""
    first_sequence: int = Field(default=0, sa_type=BigInteger)
    """Of the `bootstrap.started` that named it."""
    host: str = ""
    """The endpoint's name; empty until the authority is made."""
    virtual_ip: str | None = None
    """What the name points at whichever control planes live: the spec says so, or a load balancer of the cloud's."""
    virtual_ip_sequence: int = Field(default=0, sa_type=BigInteger)
    """Of the `nodes.ready` that brought it, if one did."""
    issued_addresses: list[str] = Field(default_factory=list, sa_type=JSON)
    """Those that the last `endpoint.issued` named."""
    issued_virtual_ip: str | None = None
    """And the virtual IP beside them."""
    withdrawn: bool = False
    """Whether `endpoint.withdrawn` was said."""
    failure: str | None = None
    """The reason that the last `endpoint.failed` gave, while it lasts."""
    answered: int = 0
    """How many of the `tellings` our own facts have been said for."""

    @property
    def tellings(self) -> int:
        """Grows with every announcement of either kind."""
        return self.announcement + self.deletion_announcement


class Node(Table, table=True):
    """A control-plane node; see `decide.ControlPlaneNode`."""

    __tablename__ = "nodes"

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    address: str | None = None
    joined: bool = False
    leaving: bool = False
    verdict: str = Verdict.UNKNOWN.value
    verdict_sequence: int = Field(default=0, sa_type=BigInteger)
    """Of the `nodes.health_changed` that brought the verdict."""


def pki_context(cluster_id: UUID, purpose: str) -> str:
    """What a private key of a cluster's authority is sealed for."""
    return f"{cluster_id}/{purpose}"


class PkiPart(Table, table=True):
    """One key pair of a cluster's authority; the private key is sealed."""

    __tablename__ = "pki_parts"

    cluster_id: UUID = Field(primary_key=True)
    purpose: str = Field(primary_key=True)
    public: str
    sealed_key: str = Field(sa_column_kwargs=sealed(lambda row: pki_context(row.cluster_id, row.purpose)))


class GrantState(StrEnum):
    """How far a grant is. Each goes on to the next; Opening may skip to Closing."""

    OPENING = "Opening"
    """Its ClusterRoleBinding is being made; nobody holds the kubeconfig yet."""
    OPEN = "Open"
    """Handed out."""
    CLOSING = "Closing"
    """Revoked or never finished: its ClusterRoleBinding must go."""
    CLOSED = "Closed"
    """Its ClusterRoleBinding is gone."""


class Grant(Table, table=True):
    """One kubeconfig handed out. The record stays for as long as the cluster does; key and certificate are not kept."""

    __tablename__ = "grants"

    id: UUID = Field(primary_key=True)
    cluster_id: UUID = Field(index=True)
    user: str
    role: str
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    state: str = GrantState.OPENING.value
    revoked: bool = False


class ZoneRecord(Table, table=True):
    """A record of the embedded zone."""

    __tablename__ = "zone_records"

    name: str = Field(primary_key=True)
    addresses: list[str] = Field(sa_type=JSON)
    ttl: int
    owner: str
    """The marker, as the TXT record says it."""


class ZoneSerial(Table, table=True):
    """The embedded zone's SOA serial."""

    __tablename__ = "zone_serials"

    origin: str = Field(primary_key=True)
    serial: int = Field(sa_type=BigInteger)


async def cluster_for_update(tx: AsyncSession, cluster_id: UUID) -> Cluster:
    """The cluster's row, made if this is the first that is heard of it, locked until the transaction ends."""
    await upsert(tx, Cluster, [Cluster(id=cluster_id).model_dump()], key=("id",), update=())
    return await tx.get_one(Cluster, cluster_id, with_for_update=True)


async def nodes_of(session: AsyncSession, cluster_id: UUID) -> list[Node]:
    """The cluster's control-plane nodes, those that have left included."""
    return list((await session.exec(select(Node).where(Node.cluster_id == cluster_id))).all())


async def tell_of_nodes(tx: AsyncSession, cluster_id: UUID, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Store facts (node → column → value, the same columns for each node), making rows as needed."""
    rows = [Node(cluster_id=cluster_id, name=name).model_dump() | dict(fact) for name, fact in facts.items()]
    columns = {column for fact in facts.values() for column in fact}
    await upsert(tx, Node, rows, key=("cluster_id", "name"), update=tuple(columns))


async def grants_of(session: AsyncSession, cluster_id: UUID) -> list[Grant]:
    """The cluster's grants, oldest first."""
    return list(
        (await session.exec(select(Grant).where(Grant.cluster_id == cluster_id).order_by(col(Grant.issued_at)))).all()
    )


def reach(team: str | None, others: Collection[UUID] = ()) -> ColumnElement[bool]:
    """The condition on a grant that it is of one of a team's clusters or of some others; any, where that is None."""
    if team is None:
        return true()
    on_cluster = col(Grant.cluster_id)
    return or_(on_cluster.in_(select(Cluster.id).where(Cluster.team == team)), on_cluster.in_(others))


async def take_back(tx: AsyncSession, user: str, clusters: ColumnElement[bool]) -> list[Grant]:
    """Mark as revoked all that a person holds on these clusters (see `reach`), in one statement.

    So nothing that is opened meanwhile gets past it; what is still being made stays so, and is not handed out any more.
    """
    closing = case((col(Grant.state) == GrantState.OPEN.value, GrantState.CLOSING.value), else_=col(Grant.state))
    await tx.exec(update(Grant).where(*_held_by(user, clusters)).values(revoked=True, state=closing))
    return await held_by(tx, user, clusters)


async def held_by(session: AsyncSession, user: str, clusters: ColumnElement[bool]) -> list[Grant]:
    """A person's grants on these clusters that are not closed, cluster by cluster."""
    statement = select(Grant).where(*_held_by(user, clusters)).order_by(col(Grant.cluster_id), col(Grant.issued_at))
    return list((await session.exec(statement)).all())


def _held_by(user: str, clusters: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return (col(Grant.user) == user, col(Grant.state) != GrantState.CLOSED.value, clusters)


async def live_keys(session: AsyncSession) -> list[str]:
    """Every cluster there is something to do for, now or later; tombstones wait to be forgotten."""
    return [str(cluster_id) for cluster_id in (await session.exec(select(Cluster.id))).all()]


async def erase_secrets(tx: AsyncSession, cluster_id: UUID) -> None:
    """Remove all that is known of a cluster but its tombstone; after this its keys exist nowhere here."""
    for table in (PkiPart, Grant, Node):
        await tx.exec(delete(table).where(col(table.cluster_id) == cluster_id))
