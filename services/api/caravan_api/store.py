"""The api's own tables. It owns what is wanted, the timeline and the tokens; the rest are copies it can hear again.

`Cluster` carries its counters and everything else that a list shows, so that no page ever counts nodes.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, text
from sqlmodel import Field, SQLModel

from caravan_shared.plumbing.database import UtcDateTime, service_metadata

_LIVE = text("deleted_at IS NULL")
_WHILE_LIVE: dict[str, Any] = {"sqlite_where": _LIVE, "postgresql_where": _LIVE}


class Table(SQLModel):
    """The base of this service's tables."""

    metadata = service_metadata()


class Cluster(Table, table=True):
    """A cluster as it is wanted, and what was told of it."""

    __table_args__ = (
        Index("uq_cluster_live_name", "team", "name", unique=True, **_WHILE_LIVE),
        Index("uq_cluster_live_virtual_ip", "virtual_ip_cloud", "virtual_ip", unique=True, **_WHILE_LIVE),
        Index("ix_cluster_by_age", "created_at", "id"),
        Index("ix_cluster_by_name", "name", "id"),
    )
    id: UUID = Field(primary_key=True)
    team: str
    name: str
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    # What is wanted.
    spec: dict[str, Any] = Field(sa_type=JSON)
    generation: int = 1
    revision: int = 1
    """Counts what people asked for (changes, retries, deletion), not what was observed: the ETag holds it."""
    retry: int = 0
    retried_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    replacing: list[str] = Field(default_factory=list, sa_type=JSON)
    """Names of nodes that someone wants replaced, each until it is gone."""
    deletion_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it is deleted by itself; None: never."""
    lifetime_said_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expiry_told: bool = False
    asleep: bool = False
    power_generation: int = 0
    """How often it was put to sleep or woken: what is told of an earlier time says nothing of this one."""
    woken_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was last woken; None while it is asleep."""
    # How it is announced.
    announcement: int = 1
    announced_at: datetime = Field(sa_type=UtcDateTime)
    heard_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    unanswered: int = 0
    # What was told, and what follows from it.
    facts: dict[str, Any] = Field(sa_type=JSON)
    phase: str
    failure: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    verdict: str | None = None
    verdicts: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    """The last verdicts and since when each was believed, oldest first."""
    accessed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When somebody was last given a kubeconfig, and who."""
    accessed_by: str | None = None
    version: str
    cloud: str
    virtual_ip: str | None = None
    virtual_ip_cloud: str | None = None
    """The control plane's cloud, where the address is."""
    simulated: bool = False
    pool_id: UUID | None = Field(default=None, index=True)
    """The pool that it was made for, if any."""
    nodes_wanted: int
    node_sets: list[dict[str, Any]] = Field(sa_type=JSON)
    change: int = Field(default=0, sa_type=BigInteger, index=True)
    """Number of its last committed change, see `Counter`."""


class Node(Table, table=True):
    """One node's read model. A removed one stays a while as a tombstone."""

    cluster_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    node_set: str = ""
    """Empty as long as only health has told of the node."""
    state: str
    machine: str
    joined: bool = False
    drained: bool = False
    machine_id: str | None = None
    address: str | None = None
    version: str | None = None
    version_sequence: int = Field(default=0, sa_type=BigInteger)
    reason: str | None = None
    held: str | None = None
    held_sequence: int = Field(default=0, sa_type=BigInteger)
    verdict: str | None = None
    verdict_reason: str | None = None
    verdict_sequence: int = Field(default=0, sa_type=BigInteger)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class TimelineEntry(Table, table=True):
    """Something that happened to a cluster, in a sentence."""

    __table_args__ = (Index("ix_timelineentry_cluster", "cluster_id", "id"),)
    id: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    cluster_id: UUID
    team: str
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    text: str
    source: str
    data: dict[str, Any] = Field(sa_type=JSON)


class Counter(Table, table=True):
    """Numbers the changes of the read model in the order of their commits.

    A sequence of the database would not do: it numbers in the order of asking, and a stream that has sent number 6
    would never see number 5 when that commits later. Here the row stays locked until the commit.
    """

    name: str = Field(primary_key=True)
    value: int = Field(default=0, sa_type=BigInteger)


class CloudOffer(Table, table=True):
    """What a cloud offers, as the provisioner said last."""

    cloud: str = Field(primary_key=True)
    offer: dict[str, Any] = Field(sa_type=JSON)
    sequence: int = Field(sa_type=BigInteger)


class KubernetesOffer(Table, table=True):
    """The Kubernetes versions that can be had, as the bootstrapper said last: one row."""

    name: str = Field(default="kubernetes", primary_key=True)
    versions: list[str] = Field(sa_type=JSON)
    sequence: int = Field(sa_type=BigInteger)


class Grant(Table, table=True):
    """Who was given access to a cluster: dns owns it, this is the copy that people read."""

    grant_id: UUID = Field(primary_key=True)
    cluster_id: UUID = Field(index=True)
    user: str
    role: str | None = None
    issued_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Token(Table, table=True):
    """A bearer token, kept as its SHA-256: it has 256 random bits, so a slow hash would protect nothing more."""

    sha256: str = Field(primary_key=True)
    id: UUID = Field(unique=True)
    user: str
    team: str
    role: str
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    """The areas that it is limited to; empty: to none."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """To the minute: a write for each request would cost more than most requests."""
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WebSession(Table, table=True):
    """Somebody who logged in with a browser, kept as the SHA-256 of what their cookie holds.

    It holds no token, only by what the user is known: what they may do is looked up anew with each request.
    """

    sha256: str = Field(primary_key=True)
    user: str
    token_sha256: str | None = None
    """The token that it was opened with, and dies with; None for somebody whom an issuer vouched for."""
    groups: list[str] = Field(default_factory=list, sa_type=JSON)
    """What the issuer said when they logged in."""
    opened_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class IdempotencyKey(Table, table=True):
    """What a request with an Idempotency-Key was answered, so that its repetition gets the same answer."""

    team: str = Field(primary_key=True)
    user: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    request_sha256: str
    status: int = 0
    body: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    etag: str = ""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class IntakeRequest(Table, table=True):
    """A request that came in as an event, so that its repetition is not a second one."""

    team: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    cluster_id: UUID | None = None
    """None for a request that was refused."""
    received_at: datetime = Field(sa_type=UtcDateTime)
