"""The audit's table. Its migration has the database itself refuse to change or remove what was written."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field

from caravan_api.store import Table
from caravan_shared.plumbing.database import COUNTED_ID, UtcDateTime


class AuditEntry(Table, table=True):
    """One change of one thing by somebody."""

    __table_args__ = (Index("ix_auditentry_team", "team", "id"), Index("ix_auditentry_thing", "kind", "ref", "id"))
    id: int | None = Field(default=None, primary_key=True, sa_type=COUNTED_ID)
    at: datetime = Field(sa_type=UtcDateTime)
    team: str | None = None
    """None for what belongs to the installation."""
    actor: str = Field(index=True)
    door: str
    trace_id: str
    action: str
    kind: str
    ref: str
    """Its id; of a kubeconfig the cluster's."""
    name: str
    before: dict[str, Any] = Field(sa_type=JSON)
    after: dict[str, Any] = Field(sa_type=JSON)
