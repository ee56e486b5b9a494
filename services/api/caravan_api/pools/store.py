"""The tables of pools, their clusters and leases."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, text
from sqlmodel import Field

from caravan_api.pools.spec import EVERY_TEAM
from caravan_api.store import Table
from caravan_shared.plumbing.database import UtcDateTime

_LIVE = text("deleted_at IS NULL")
_SPARE = text("lease_id IS NULL")
_LIVE_LEASE = text("ended_at IS NULL")
_QUEUED_LEASE = text("granted_at IS NULL AND ended_at IS NULL")


class Pool(Table, table=True):
    """A pool as it is wanted, and how it gets on with making clusters."""

    __table_args__ = (
        Index("uq_pool_live_name", "team", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: UUID = Field(primary_key=True)
    team: str
    name: str
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    spec: dict[str, Any] = Field(sa_type=JSON)
    template_revision: int = 1
    """Counts changes of the template: a spare of an earlier one is stale."""
    revision: int = 1
    """Counts changes of the spec: the ETag holds it."""
    deletion_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failures: int = 0
    """Clusters in a row that did not come to be."""
    trouble: str | None = None
    """Why the last one did not."""
    holds_off_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """No cluster is made before: each further failure doubles the pause."""
    usual_making_s: float | None = None
    """From the request to the first passed smoke test, a moving average."""

    def is_for(self, team: str) -> bool:
        """True if that team may take from it."""
        return team == self.team or not {team, EVERY_TEAM}.isdisjoint(self.spec.get("shared_with", ()))

    def forget_failures(self) -> None:
        """Clusters are made again as if none had failed."""
        self.failures, self.trouble, self.holds_off_until = 0, None, None


class PoolShare(Table, table=True):
    """A team that may take from another one's pool: the pool's spec says so too, but a list cannot ask that."""

    pool_id: UUID = Field(primary_key=True)
    team: str = Field(primary_key=True, index=True)
    """`EVERY_TEAM`, or one."""


class PoolCluster(Table, table=True):
    """A cluster of a pool, from its request until it is gone."""

    __table_args__ = (
        Index("ix_poolcluster_pool", "pool_id"),
        Index("ix_poolcluster_spare", "pool_id", "made_at", sqlite_where=_SPARE, postgresql_where=_SPARE),
    )
    cluster_id: UUID = Field(primary_key=True)
    pool_id: UUID
    template_revision: int
    made_at: datetime = Field(sa_type=UtcDateTime)
    ready_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it first passed a smoke test."""
    tested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it last passed one."""
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    problem: str | None = None
    leaving: bool = False
    """It is being deleted. Set in the transaction that asks for it, so that nobody takes it meanwhile."""
    lease_id: UUID | None = Field(default=None, unique=True)


class Lease(Table, table=True):
    """One holder's right to one cluster for a while, or to be given one."""

    __table_args__ = (
        Index("ix_lease_due", "pool_id", "due_at", sqlite_where=_LIVE_LEASE, postgresql_where=_LIVE_LEASE),
        Index("ix_lease_queued", "pool_id", "asked_at", sqlite_where=_QUEUED_LEASE, postgresql_where=_QUEUED_LEASE),
        Index("ix_lease_open", "team", "cluster_id", sqlite_where=_LIVE_LEASE, postgresql_where=_LIVE_LEASE),
        Index("ix_lease_team", "team", "asked_at", "id"),
    )
    id: UUID = Field(primary_key=True)
    pool_id: UUID
    pool: str
    team: str
    holder: str
    purpose: str | None = None
    labels: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    state: str
    asked_at: datetime = Field(sa_type=UtcDateTime)
    lasts_s: int
    granted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    heartbeat_s: int | None = None
    """It ends when its holder is silent for so long; None: heartbeats are not expected."""
    heard_at: datetime = Field(sa_type=UtcDateTime)
    warned: bool = False
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When something is next to be done about it if nobody does anything: a warning, or its end. None: never."""
    cluster_id: UUID | None = None
    cluster: str | None = None
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    end_reason: str | None = None
